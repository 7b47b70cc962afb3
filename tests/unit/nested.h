/* Messages that are nested so deep that recursive unpacking overflows the stack. */
#ifndef UNIT_NESTED_H
#define UNIT_NESTED_H

#include <etcdworker/types.h>

#include <assert.h>
#include <stdint.h>

enum { NESTED_BYTES = 1 << 20, NESTED_LEAST = 100000 };

/* Field numbers of proto/etcd.proto: the first success operation of a TxnRequest, the first response of a TxnResponse,
 * and the transaction in either of them. */
enum { NESTED_REQUEST = 2, NESTED_RESPONSE = 3, NESTED_TXN = 4 };

static inline uint8_t *nested_head(uint8_t *at, unsigned number, size_t len) {
    uint8_t head[8];
    size_t n = 0;
    head[n++] = (uint8_t)(number << 3 | 2);
    for (; len >= 0x80; len >>= 7)
        head[n++] = (uint8_t)(len | 0x80);
    head[n++] = (uint8_t)len;
    while (n > 0)
        *--at = head[--n];
    return at;
}

/* Returns a transaction nested in transactions, `depth` levels deep, at the end of `bytes`. */
static inline ew_slice nested_txn(uint8_t *bytes, size_t size, unsigned operation, size_t depth) {
    uint8_t *end = bytes + size, *at = end;
    for (size_t i = 0; i < depth; i++) {
        assert(at - bytes >= 16);
        at = nested_head(at, NESTED_TXN, (size_t)(end - at));
        at = nested_head(at, operation, (size_t)(end - at));
    }
    return (ew_slice){at, (size_t)(end - at)};
}

#endif
