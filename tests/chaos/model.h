/* The state of accounts, rows and seats, computed from events: by the reactor from its updates, by the recorder from
 * etcd's history. */
#ifndef CHAOS_MODEL_H
#define CHAOS_MODEL_H

#include <etcdworker/types.h>

enum {
    WORKERS = 3,
    ACCOUNTS = 10,
    ROWS = 5,
    SEATS = 4,
    MODEL_KEYS = ACCOUNTS + ROWS + SEATS,
    MODEL_VALUE = 96,
};

typedef struct model_key {
    bool present;
    char value[MODEL_VALUE];
    int64_t mod_revision;
} model_key;

typedef struct model {
    model_key keys[MODEL_KEYS];
} model;

/* Returns the entry of a key below `prefix`; NULL if the model does not keep this key. */
model_key *model_find(model *m, const char *prefix, ew_slice key);
void model_set(model_key *k, ew_event_kind kind, ew_slice value, int64_t mod_revision);

/* Returns a 64-bit hash of the state. */
uint64_t model_hash(const model *m);

/* Rows are numbers separated by blanks. */
bool row_parse(ew_slice text, int64_t cells[WORKERS]);
void row_print(const int64_t cells[WORKERS], char *out, size_t size);

#endif
