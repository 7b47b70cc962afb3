/* The test's own hand in etcd, beside the workers: plain calls that block, of the main thread only. A call that fails
 * fails the test. */
#ifndef LIB_HAND_H
#define LIB_HAND_H

#include "etcd.pb-c.h"

#include <etcdworker/client.h>

/* Opens the hand's client on `endpoints`, and closes it. */
void hand_open(const char *endpoints);
void hand_close(void);

/* After the server was away: finds out that the old connection is dead, and makes a new one. */
void hand_reconnect(void);

typedef struct hand_kv {
    bool present;
    size_t len; /* of the whole value */
    char value[256];
    int64_t create_revision, mod_revision, version, lease;
} hand_kv;

/* All of them answer the revision, where they answer a number. */
int64_t hand_put(const char *key, const char *value);
int64_t hand_put_slice(ew_slice key, ew_slice value, int64_t lease);
int64_t hand_delete(const char *key);
int64_t hand_delete_prefix(const char *prefix);
hand_kv hand_get(const char *key);
hand_kv hand_get_at(const char *key, int64_t revision); /* 0: now */
size_t hand_count(const char *prefix);
int64_t hand_revision(void);
void hand_compact(int64_t revision);
int64_t hand_grant(int64_t ttl_s); /* the lease */
void hand_revoke(int64_t lease);
/* A transaction of the test's own; to be freed with pb__txn_response__free_unpacked. */
Pb__TxnResponse *hand_txn(const Pb__TxnRequest *request);
ew_client *hand_client(void);

/* What the test did before one of these calls comes before what a worker sees of it. A sanitizer cannot look through
 * etcd, so both sides say so: the calls by themselves, the worker fixture when its reactor is called. */
void hand_order(void);

/* The transaction that a worker sends for one put, if nothing is added to it: compares the key's mod_revision, puts it,
 * and otherwise reads the revision. Packed into `out`; answers its length. */
size_t hand_pack_put(uint8_t *out, size_t size, const char *key, ew_slice value, int64_t mod_revision);

#endif
