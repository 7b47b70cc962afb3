/* Checks what must be true of the watching core's effects for every input: the other side of its contract. Used by the
 * unit tests and by the fuzz target. */
#ifndef TESTS_WATCHING_WITNESS_H
#define TESTS_WATCHING_WITNESS_H

#include "core/check.h"
#include "core/watching.h"

typedef struct witness {
    bool range_out, cancelled, stream_out, closed, connected, ended;
    bool loading; /* between a first page and a last one */
    bool watches; /* it has opened a stream; the core of a consistency check never does */
    uint64_t epoch;
    int64_t revision;       /* the newest that was sent */
    unsigned interruptions; /* the last number reported */
} witness;

/* Call this before each step. */
static inline void witness_event(witness *w, const watching_event *e) {
    CHECK(!w->ended);
    if (e->type == WATCHING_PAGE || e->type == WATCHING_PAGE_FAILED)
        w->range_out = w->cancelled = false;
    if (e->type == WATCHING_STREAM_ENDED)
        w->stream_out = w->closed = false;
}

static inline void witness_snapshot(witness *w, const watching_effect *e) {
    if (e->first) {
        CHECK(e->epoch > w->epoch);
        CHECK(e->revision >= w->revision || e->rewritten); /* ETCD P7 */
        w->epoch = e->epoch;
        w->loading = true;
    }
    CHECK(w->loading && e->epoch == w->epoch && e->revision > 0);
    CHECK(e->first || e->revision == w->revision);                   /* SEMANTICS 3: all pages at one revision */
    CHECK(!e->last || (w->stream_out && !w->closed) || !w->watches); /* a complete snapshot has an open watch */
    w->revision = e->revision;
    w->loading = !e->last;
}

static inline void witness_effect(witness *w, const watching_effect *e) {
    CHECK(!w->ended);
    switch (e->type) {
    case WATCHING_DO_RANGE:
        CHECK(!w->range_out && e->bytes.len > 0);
        w->range_out = true;
        break;
    case WATCHING_DO_CANCEL_RANGE:
        CHECK(w->range_out && !w->cancelled);
        w->cancelled = true;
        break;
    case WATCHING_DO_OPEN:
        CHECK(!w->stream_out && e->bytes.len > 0); /* if the load begins with the watch, before the first page */
        w->stream_out = w->watches = true;
        break;
    case WATCHING_DO_REQUEST:
        CHECK(w->stream_out && !w->closed && e->bytes.len > 0);
        break;
    case WATCHING_DO_CLOSE:
        CHECK(w->stream_out && !w->closed);
        w->closed = true;
        break;
    case WATCHING_DO_SEND_SNAPSHOT:
        witness_snapshot(w, e);
        break;
    case WATCHING_DO_SEND_EVENTS:
    case WATCHING_DO_SEND_PROGRESS:
        CHECK(!w->loading && w->connected && e->epoch == w->epoch && e->revision > w->revision);
        w->revision = e->revision;
        break;
    case WATCHING_DO_SEND_HEALTH:
        /* Each report has something new: connected or not, unsure, one more interrupted load, or no longer any. */
        CHECK(w->connected != e->connected || (e->connected && e->unsure) ||
              (!e->connected && e->interruptions == w->interruptions + 1) ||
              (!e->connected && e->interruptions == 0 && w->interruptions > 0));
        w->connected = e->connected;
        w->interruptions = e->interruptions;
        break;
    case WATCHING_DO_END:
        CHECK(!w->range_out && !w->stream_out && !w->connected && e->detail);
        w->ended = true;
        break;
    case WATCHING_DO_LOG:
        CHECK(e->detail && e->detail[0] != '\0');
        break;
    }
}

/* Call this after each step. */
static inline void witness_effects(witness *w, const watching_effects *out) {
    for (size_t i = 0; i < out->count; i++)
        witness_effect(w, &out->list[i]);
}

#endif
