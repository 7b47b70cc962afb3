/* Submits for a ticking core, each with at most one put, one compare and one deletion. */
#ifndef UNIT_SUBMIT_FIXTURE_H
#define UNIT_SUBMIT_FIXTURE_H

#include "unit/ticking_fixture.h"

typedef struct submit {
    Msg__Submit message;
    Msg__Submit__Put put, *puts[1];
    Msg__Submit__Compare compare, *compares[1];
    ProtobufCBinaryData deletes[1];
} submit;

static inline submit *submit_init(submit *u) {
    msg__submit__init(&u->message);
    msg__submit__put__init(&u->put);
    msg__submit__compare__init(&u->compare);
    u->puts[0] = &u->put;
    u->compares[0] = &u->compare;
    u->message.puts = u->puts;
    u->message.compares = u->compares;
    u->message.deletes = u->deletes;
    return u;
}

static inline submit *submit_put(submit *u, const char *key, const char *value) {
    u->put.key = binary(key);
    u->put.value = binary(value);
    u->message.n_puts = 1;
    return u;
}

static inline submit *submit_delete(submit *u, const char *key) {
    u->deletes[0] = binary(key);
    u->message.n_deletes = 1;
    return u;
}

static inline submit *submit_if(submit *u, const char *key, const char *value) {
    u->compare.key = binary(key);
    u->compare.value = binary(value);
    u->compare.absent = !value;
    u->message.n_compares = 1;
    return u;
}

/* Gives the submit an identity. */
static inline submit *submit_by(submit *u, const char *client, uint64_t sequence) {
    u->message.client = binary(client);
    u->message.sequence = sequence;
    return u;
}

#endif
