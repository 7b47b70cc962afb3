/* The clients that submit with an identity: what this worker knows of the last submit of each, and of the record in
 * etcd that says so (SEMANTICS 34). Bounded: of a client that is forgotten, the record is read again. Pure. */
#ifndef CORE_SUBMIT_CLIENTS_H
#define CORE_SUBMIT_CLIENTS_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

#include <uthash.h>

enum {
    SUBMIT_CLIENT_ID_MAX = 64,
    SUBMIT_CLIENTS_MAX = 8192, /* beyond that, those that have been quiet for longest are forgotten */
};

typedef struct submit_client {
    uint32_t pending;        /* submits that are undecided: it is not forgotten before */
    int64_t record_revision; /* the record's mod_revision; 0: absent, or not known */

    /* The last submit that was decided. */
    uint64_t sequence; /* 0: none is known */
    uint64_t digest;
    int status; /* EW_OK, EW_ERR_REFUSED, or EW_ERR_UNKNOWN_OUTCOME where the record is malformed */
    int64_t revision;

    ew_slice id, key; /* behind the struct; the key is the record's */
    UT_hash_handle hh;
} submit_client;

typedef struct submit_clients {
    submit_client *table; /* uthash: the one that was quiet for longest is first */
} submit_clients;

void submit_clients_fini(submit_clients *clients);

/* NULL if it is not known. */
submit_client *submit_clients_find(const submit_clients *clients, ew_slice id);

/* The client, known or new, which is the last now to be forgotten; NULL when out of memory. */
submit_client *submit_clients_get(submit_clients *clients, ew_slice receipt_prefix, ew_slice id);

/* Takes in the record as etcd holds it: `value` is a SubmitRecord; mod_revision 0 means that it is absent.
 * EW_ERR_BAD_MESSAGE when it is malformed: then nobody knows what became of the submit `sequence`, for which it was
 * read. EW_ERR_NO_MEMORY. */
int submit_client_learn(submit_client *client, int64_t mod_revision, ew_slice value, uint64_t sequence);

/* A number that two submits of different content have in common only by a very great accident. */
uint64_t submit_digest(const Msg__Submit *submit);

#endif
