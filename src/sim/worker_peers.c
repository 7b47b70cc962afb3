/* The watcher and the committer of a worker: those of src/shell, with mailboxes. */
#include "sim/worker.h"

#include <stdlib.h>

/* Takes the next message. Returns NULL if the mailbox is empty. The caller frees it with
 * msg__message__free_unpacked(m, NULL). */
static Msg__Message *take(sim_actor *a) {
    sim_message raw;
    if (!sim_fifo_take(&a->box, &raw))
        return NULL;
    Msg__Message *m = msg__message__unpack(NULL, raw.bytes.len, raw.bytes.data);
    free(sim_unconst(raw.bytes.data));
    if (!m)
        ew_sim_fail(a->worker->sim, "worker %u: a malformed message", a->worker->number);
    return m;
}

void sim_watcher_round(void *actor) {
    sim_actor *a = actor;
    sim_worker *w = a->worker;
    Msg__Message *m;
    a->wake_ms = INT64_MAX;
    while ((m = take(a))) {
        watcher_take(w->watcher_of, m);
        msg__message__free_unpacked(m, NULL);
    }
    if (w->watcher_waits && sim_watcher_backlog(w) < (size_t)w->options->mailbox_messages) {
        w->watcher_waits = false;
        watcher_resume(w->watcher_of);
    }
    sim_actor_wake(a, watcher_round(w->watcher_of, sim_now(w->sim)));
}

void sim_watcher_space(sim_worker *w) {
    if (w->watcher_waits && sim_watcher_backlog(w) < (size_t)w->options->mailbox_messages)
        sim_actor_wake(&w->watcher, sim_now(w->sim));
}

void sim_committer_round(void *actor) {
    sim_actor *a = actor;
    sim_worker *w = a->worker;
    Msg__Message *m;
    a->wake_ms = INT64_MAX;
    while ((m = take(a))) {
        committer_take(w->committer_of, m);
        msg__message__free_unpacked(m, NULL);
    }
    sim_actor_wake(a, committer_round(w->committer_of, sim_now(w->sim)));
}

static void check_lease(void *arg) {
    sim_lease_check(arg);
}

bool sim_peers_start(sim_worker *w, bool together) {
    sim_io_init(&w->watcher_io, &w->watcher, &w->watcher_to_reactor);
    sim_io_init(&w->committer_io, &w->committer, &w->committer_to_reactor);
    w->piggyback = (piggyback){0};
    piggyback_init(&w->piggyback);
    w->watcher_waits = false;
    w->watcher_of = watcher_new(&(watcher_config){
        .io = &w->watcher_io.io,
        .piggyback = together ? &w->piggyback : NULL,
        .core = &w->watching_config,
        .call_timeout_ms = w->options->call_timeout_ms,
    });
    w->committer_of = committer_new(&(committer_config){
        .io = &w->committer_io.io,
        .piggyback = together ? &w->piggyback : NULL,
        .core = &w->committing_config,
        .stop_timeout_ms = w->options->stop_timeout_ms,
        .check_lease = check_lease,
        .check_arg = &w->records,
    });
    return w->watcher_of && w->committer_of;
}

void sim_peers_free(sim_worker *w) {
    watcher_free(w->watcher_of);
    committer_free(w->committer_of);
    w->watcher_of = NULL;
    w->committer_of = NULL;
    sim_io_fini(&w->watcher_io);
    sim_io_fini(&w->committer_io);
}
