/* The state of accounts, rows and seats, built from events: by the reactor of what it was told, by the recorder of what
 * happened. */
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

/* Where it keeps a key below `prefix`; NULL for those that it leaves out. */
model_key *model_find(model *m, const char *prefix, ew_slice key);
void model_set(model_key *k, ew_event_kind kind, ew_slice value, int64_t mod_revision);

/* A number that two different states have in common only by a very great accident. */
uint64_t model_hash(const model *m);

/* Rows: numbers separated by blanks. */
bool row_parse(ew_slice text, int64_t cells[WORKERS]);
void row_print(const int64_t cells[WORKERS], char *out, size_t size);

#endif
