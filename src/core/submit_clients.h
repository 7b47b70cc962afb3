/* The clients that submit with an identity: the last submit of each that this worker knows, and its record in etcd
 * (SEMANTICS 34). The table is bounded: the record of a forgotten client is read again. Pure. */
#ifndef CORE_SUBMIT_CLIENTS_H
#define CORE_SUBMIT_CLIENTS_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

#include <uthash.h>

enum {
    SUBMIT_CLIENT_ID_MAX = 64, /* bytes, as proto/actors.proto says */
    SUBMIT_CLIENTS_MAX = 8192, /* beyond that, the clients that have been idle the longest are forgotten */
};

typedef struct submit_client {
    uint32_t pending;        /* undecided submits: the client is not forgotten before */
    struct ew_group *newest; /* the last of these; their order is the order in which they are decided */
    int64_t record_revision; /* the record's mod_revision; 0: absent, or unknown */

    /* The last submit that was decided. */
    uint64_t sequence; /* 0: unknown */
    uint64_t digest;
    int status; /* EW_OK, EW_ERR_REFUSED, or EW_ERR_UNKNOWN_OUTCOME if the record is malformed */
    int64_t revision;

    ew_slice id, key; /* stored after the struct; `key` is the record's */
    UT_hash_handle hh;
} submit_client;

typedef struct submit_clients {
    submit_client *table; /* uthash: the client that has been idle the longest is first */
} submit_clients;

void submit_clients_fini(submit_clients *clients);

/* Returns the client; NULL if it is unknown. */
submit_client *submit_clients_find(const submit_clients *clients, ew_slice id);

/* Returns the client, known or new, and makes it the last one to be forgotten; NULL when out of memory. */
submit_client *submit_clients_get(submit_clients *clients, ew_slice receipt_prefix, ew_slice id);

/* Stores the record that etcd has: `value` is a SubmitRecord; mod_revision 0 means that it is absent.
 * EW_ERR_BAD_MESSAGE: it is malformed, so the outcome of the submit `sequence`, for which it was read, is unknown.
 * EW_ERR_NO_MEMORY. */
int submit_client_learn(submit_client *client, int64_t mod_revision, ew_slice value, uint64_t sequence);

/* Returns a digest of the submit's content; two submits of different content have the same one only with negligible
 * probability. */
uint64_t submit_digest(const Msg__Submit *submit);

#endif
