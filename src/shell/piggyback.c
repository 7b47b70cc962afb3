#include "shell/piggyback.h"

#include "core/bug.h"

#include <etcdworker/error.h>

void piggyback_init(piggyback *p) {
    atomic_init(&p->held_until_ms, INT64_MAX);
}

static int hold(piggyback *p, const Msg__Message *message) {
    atomic_store(&p->held_until_ms, p->io->ops->now_ms(p->io) + PIGGYBACK_HOLD_MS);
    return p->io->ops->send(p->io, message, IO_HOLD);
}

static int join(piggyback *p, const Msg__Message *message) {
    atomic_store(&p->held_until_ms, INT64_MAX);
    return p->io->ops->send(p->io, message, IO_JOIN);
}

int piggyback_send_events(piggyback *p, const Msg__Message *message, int64_t revision, size_t bytes) {
    int status;
    if (bytes > PIGGYBACK_HOLD_BYTES)
        status = p->io->ops->send(p->io, message, IO_SEND);
    else
        status = atomic_load(&p->in_flight) ? hold(p, message) : join(p, message);
    atomic_store(&p->revision, revision);
    atomic_store(&p->awaited, 0); /* a held outcome has left with these events, or before them */
    return status;
}

void piggyback_begin_batch(piggyback *p) {
    atomic_store(&p->in_flight, true);
}

/* An outcome waits if its event is still to come. An outcome without a commit leaves at once. */
int piggyback_send_outcome(piggyback *p, const Msg__Message *message) {
    const Msg__Outcome *outcome = message->outcome;
    atomic_store(&p->in_flight, false);
    bool wait = outcome->status == EW_OK && outcome->barrier_revision > atomic_load(&p->revision) &&
                !atomic_load(&p->unwatched);
    atomic_store(&p->awaited, wait ? outcome->barrier_revision : 0);
    int status = wait ? hold(p, message) : join(p, message);
    p->io->ops->due(p->io); /* the watcher's rounds send what is held for too long */
    if (wait)
        p->send_awaited(p->watcher);
    return status;
}

int64_t piggyback_awaited(const piggyback *p) {
    return atomic_load(&p->awaited);
}

int piggyback_release(piggyback *p, int64_t now_ms, int64_t *next_ms) {
    *next_ms = atomic_load(&p->held_until_ms);
    if (*next_ms > now_ms)
        return EW_OK;
    atomic_store(&p->held_until_ms, INT64_MAX);
    atomic_store(&p->awaited, 0);
    *next_ms = INT64_MAX;
    if (EW_BUG(held_forgotten))
        return EW_OK;
    return p->io->ops->release(p->io);
}
