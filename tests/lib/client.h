/* The test's own hand in etcd, beside the workers: plain calls that block, of the main thread only. A call that fails
 * fails the test. */
#ifndef TESTS_LIB_CLIENT_H
#define TESTS_LIB_CLIENT_H

#include "etcd.pb-c.h"

#include <etcdworker/client.h>

/* Opens the hand's client on `endpoints`, and closes it. */
void client_open(const char *endpoints);
void client_close(void);

/* After the server was away: finds out that the old connection is dead, and makes a new one. */
void client_reconnect(void);

typedef struct client_kv {
    bool present;
    size_t len; /* of the whole value */
    char value[256];
    int64_t create_revision, mod_revision, version, lease;
} client_kv;

/* All of them answer the revision, where they answer a number. */
int64_t client_put(const char *key, const char *value);
int64_t client_put_slice(ew_slice key, ew_slice value, int64_t lease);
int64_t client_delete(const char *key);
int64_t client_delete_prefix(const char *prefix);
client_kv client_get(const char *key);
client_kv client_get_at(const char *key, int64_t revision); /* 0: now */
size_t client_count(const char *prefix);
int64_t client_revision(void);
void client_compact(int64_t revision);
int64_t client_grant(int64_t ttl_s); /* the lease */
void client_revoke(int64_t lease);
/* A transaction of the test's own; to be freed with pb__txn_response__free_unpacked. */
Pb__TxnResponse *client_txn(const Pb__TxnRequest *request);
ew_client *client_handle(void);

/* What the test did before one of these calls comes before what a worker sees of it. A sanitizer cannot look through
 * etcd, so both sides say so: the calls by themselves, the worker fixture when its reactor is called. */
void client_order(void);

/* The transaction that a worker sends for one put, if nothing is added to it: compares the key's mod_revision, puts it,
 * and otherwise reads the revision. Packed into `out`; answers its length. */
size_t client_pack_put(uint8_t *out, size_t size, const char *key, ew_slice value, int64_t mod_revision);

#endif
