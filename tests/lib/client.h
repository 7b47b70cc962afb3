/* The test's own etcd client, beside the workers: blocking calls, for the main thread only. A call that fails fails the
 * test. */
#ifndef TESTS_LIB_CLIENT_H
#define TESTS_LIB_CLIENT_H

#include "etcd.pb-c.h"

#include <etcdworker/client.h>

/* Opens the client on `endpoints`, and closes it. */
void client_open(const char *endpoints);
void client_close(void);

/* Call this after the server was away: detects that the old connection is dead and opens a new one. */
void client_reconnect(void);

typedef struct client_kv {
    bool present;
    size_t len; /* of the whole value */
    char value[256];
    int64_t create_revision, mod_revision, version, lease;
} client_kv;

/* Functions that return int64_t return the revision, unless stated otherwise. */
int64_t client_put(const char *key, const char *value);
int64_t client_put_slice(ew_slice key, ew_slice value, int64_t lease);
int64_t client_delete(const char *key);
int64_t client_delete_prefix(const char *prefix);
client_kv client_get(const char *key);
client_kv client_get_at(const char *key, int64_t revision); /* 0: the newest */
size_t client_count(const char *prefix);
int64_t client_revision(void);
void client_compact(int64_t revision);
int64_t client_grant(int64_t ttl_s); /* returns the lease */
void client_revoke(int64_t lease);
/* Runs a transaction. Free the result with pb__txn_response__free_unpacked. */
Pb__TxnResponse *client_txn(const Pb__TxnRequest *request);
ew_client *client_handle(void);

/* Declares to a thread sanitizer that the calls above happen before what a worker sees of them: the sanitizer cannot
 * see the order through etcd. The calls above do it themselves; the worker fixture does it when its reactor is called.
 */
void client_order(void);

/* Packs into `out` the transaction that a worker sends for one put when it adds nothing else: compare the key's
 * mod_revision, then put the key, else read its revision. Returns the length. */
size_t client_pack_put(uint8_t *out, size_t size, const char *key, ew_slice value, int64_t mod_revision);

#endif
