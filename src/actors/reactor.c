#include "actors/reactor.h"

#include "actors/actor.h"
#include "actors/message.h"
#include "core/log.h"
#include "core/unpack.h"
#include "etcd/etcd.h"

#include <stdio.h>

enum { PEERS = 1 << MSG__ACTOR__WATCHER | 1 << MSG__ACTOR__COMMITTER, DOWN_MARGIN_MS = 2000 };

static void step(reactor_actor *r, ticking_event event);
static void stop_peers(reactor_actor *r);
static void check_session(reactor_actor *r);

/* ---- the core's effects ---- */

static void publish_tick(reactor_actor *r, uint64_t number, int64_t revision, uint32_t groups) {
    Msg__TickNote note = MSG__TICK_NOTE__INIT;
    uint8_t body[64]; /* three varints with tags: at most 33 bytes */
    note.number = number;
    note.revision = revision;
    note.groups = groups;
    publisher_send(r->ticks, (ew_slice){body, msg__tick_note__pack(&note, body)});
}

/* Calls the reactor's reset and update functions for the changes, then its tick function. Returns the status of the
 * first function that did not return EW_OK. If it failed, `detail` names it. */
static int call_reactor(reactor_actor *r, const ticking_effect *e, char *detail, size_t size) {
    int status = EW_OK;
    const char *what = "reset";
    if (e->reset && r->table.reset != NULL)
        status = r->table.reset(r->self);
    ew_event event;
    if (status == EW_OK)
        what = "update";
    while (status == EW_OK && ticking_take_update(r->core, &event))
        status = r->table.update(r->self, &event);
    if (status > 0) {
        snprintf(detail, size, "the reactor's %s returned %s (%d), but only EW_OK or an error is valid", what,
                 ew_errname(status), status);
        return EW_ERR_REACTOR;
    }
    if (status == EW_OK) {
        what = "tick";
        status = r->table.tick(r->self, e->tick);
    }
    snprintf(detail, size, "the reactor's %s failed", what);
    return status;
}

static void set_time(_Atomic int64_t *time, int64_t now_ms) {
    atomic_store_explicit(time, now_ms, memory_order_relaxed);
}

static void tick(reactor_actor *r, const ticking_effect *e) {
    char detail[128];
    uint64_t number = ew_tick_number(e->tick);
    int64_t revision = ew_tick_revision(e->tick), before_ms = etcd_now_ms();
    set_time(&r->counters.tick_began_ms, before_ms);
    int status = call_reactor(r, e, detail, sizeof detail);
    set_time(&r->counters.tick_began_ms, 0);
    int64_t took_ms = etcd_now_ms() - before_ms;
    if (took_ms > r->slow_tick_ms) {
        atomic_fetch_add_explicit(&r->counters.slow_ticks, 1, memory_order_relaxed);
        log_fields(EW_LOG_WARN, &r->log, "reactor", "slow tick", {"ms", NULL, took_ms}, {"revision", NULL, revision});
    }
    uint32_t groups = ticking_tick_groups(e->tick);
    check_session(r);
    step(r, (ticking_event){.type = TICKING_TICKED, .status = status, .detail = status < 0 ? detail : NULL});
    if (r->ticks != NULL)
        publish_tick(r, number, revision, groups);
}

static void fail(reactor_actor *r, int status, const char *detail) {
    step(r, (ticking_event){.type = TICKING_STOP, .status = status, .detail = detail});
}

static void out_of_memory(reactor_actor *r, const char *doing) {
    if (r->over)
        return;
    r->over = true;
    r->status = EW_ERR_NO_MEMORY;
    snprintf(r->detail, sizeof r->detail, "%s", doing);
}

static void commit(reactor_actor *r, const Msg__Patches *patches) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.patches = (Msg__Patches *)(uintptr_t)patches; /* only read */
    if (outbox_send(r->to_committer, &m) != EW_OK) {
        /* The batch was not sent, so no outcome will come: the run must not wait for one. */
        out_of_memory(r, "sending a batch");
        return;
    }
    set_time(&r->counters.batch_sent_ms, etcd_now_ms());
}

static void count(_Atomic uint64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void reply(reactor_actor *r, uint64_t request, int status, int64_t revision, const char *detail) {
    char cut[256];
    snprintf(cut, sizeof cut, "%s", detail != NULL ? detail : "");
    Msg__SubmitReply answer = MSG__SUBMIT_REPLY__INIT;
    answer.status = status;
    answer.revision = revision;
    answer.detail = cut;
    uint8_t body[sizeof cut + 64]; /* the detail, and two varints with their tags */
    mailbox_reply(r->mailbox, request, (ew_slice){body, msg__submit_reply__pack(&answer, body)});
}

void reactor_reply(reactor_actor *r, uint64_t request, int status, int64_t revision, const char *detail) {
    if (status != EW_OK)
        count(&r->counters.submits_refused);
    reply(r, request, status, revision, detail);
}

/* Replies to an invalid request, counts it, and logs it at a limited rate: other programs may send any number. */
static void refuse_request(reactor_actor *r, uint64_t request, _Atomic uint64_t *counter, int status, const char *why) {
    uint64_t left_out;
    count(counter);
    reply(r, request, status, 0, why);
    if (log_limit_passes(&r->submit_limit, etcd_now_ms(), &left_out))
        log_fields(EW_LOG_WARN, &r->log, "sockets", "submit refused", {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
}

static void ask_watcher(reactor_actor *r, const ticking_effect *e) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Audit audit = MSG__AUDIT__INIT;
    audit.number = e->audit;
    audit.revision = e->revision;
    audit.resync = e->type == TICKING_DO_RESYNC;
    audit.rewritten = e->rewritten;
    m.audit = &audit;
    if (outbox_send(r->to_watcher, &m) != EW_OK)
        out_of_memory(r, "requesting a consistency check or a load");
}

static void carry_out(reactor_actor *r, const ticking_effect *e) {
    switch (e->type) {
    case TICKING_DO_TICK:
        tick(r, e);
        break;
    case TICKING_DO_COMMIT:
        commit(r, e->patches);
        break;
    case TICKING_DO_AUDIT:
    case TICKING_DO_RESYNC:
        ask_watcher(r, e);
        break;
    case TICKING_DO_STOP:
        stop_peers(r);
        break;
    case TICKING_DO_REPLY:
        reactor_reply(r, e->submit_id, e->status, e->revision, e->detail);
        break;
    case TICKING_DO_END:
        r->over = true;
        r->status = e->status;
        snprintf(r->detail, sizeof r->detail, "%s", e->detail != NULL ? e->detail : "");
        break;
    case TICKING_DO_LOG:
        actor_log(&r->log, "reactor", e->status, e->detail, e->revision);
        break;
    }
}

static void step(reactor_actor *r, ticking_event event) {
    if (r->over)
        return;
    ticking_effects effects = {0};
    event.now_ms = etcd_now_ms();
    ticking_step(r->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(r, &effects.list[i]);
    ticking_effects_fini(&effects);
}

/* ---- messages ---- */

static void stop_peers(reactor_actor *r) {
    if (r->stopping)
        return;
    r->stopping = true;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    stop.timeout_ms = r->stop_timeout_ms;
    m.stop = &stop;
    outbox_send(r->to_watcher, &m);
    outbox_send(r->to_committer, &m);
}

static void end_session(reactor_actor *r) {
    stop_peers(r);
    fail(r, EW_ERR_SESSION_DONE, "the session's lease expired or was revoked");
}

/* SEMANTICS 30: nothing is sent after the session's end, even if the message about it is still in the mailbox. */
static void check_session(reactor_actor *r) {
    if (!r->stopping && r->session_is_lost(r->session_arg))
        end_session(r);
}

/* Handles a SESSION message: the id was taken, the session ended, or a lease was replaced. */
static void take_session(reactor_actor *r, const Msg__Message *m) {
    const Msg__Session *session = m->session;
    if (session->taken && !r->stopping) {
        stop_peers(r);
        fail(r, EW_ERR_FENCED,
             "another worker has taken this worker_id while this one was disconnected from etcd for longer than "
             "session_ttl_s");
    } else if (session->done || ((session->lost || session->session_lease != 0) && ticking_uses_session(r->core))) {
        check_session(r); /* the message is only a wake-up: the session's state decides */
    } else {
        step(r, (ticking_event){.type = TICKING_MESSAGE, .message = m});
        if (session->lease != 0 && !r->stopping)
            outbox_send(r->to_committer, m);
    }
}

/* Handles a breach: the core decides whether the run goes on. */
static void broken(reactor_actor *r, const char *why) {
    if (r->over)
        r->bad_messages++;
    else
        step(r, (ticking_event){.type = TICKING_BROKEN, .detail = why});
}

/* Drops a message that is not for a reactor or that has no effect; counts it and logs it at a limited rate. */
static void drop(reactor_actor *r, const char *why) {
    uint64_t left_out;
    r->bad_messages++;
    if (log_limit_passes(&r->message_limit, etcd_now_ms(), &left_out))
        log_fields(EW_LOG_WARN, &r->log, "reactor", "message dropped", {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
}

static unsigned bit_of(int actor) {
    return actor == MSG__ACTOR__WATCHER || actor == MSG__ACTOR__COMMITTER ? 1U << actor : 0;
}

static void take_down(reactor_actor *r, const Msg__Down *down) {
    char text[128];
    const unsigned bit = bit_of(down->actor);
    if ((r->peers & bit) == 0) {
        snprintf(text, sizeof text, "DOWN: actor %d is %s", (int)down->actor, bit == 0 ? "not a peer" : "already down");
        broken(r, text);
        return;
    }
    r->peers &= ~bit;
    if (r->stopping)
        return;
    snprintf(text, sizeof text, "DOWN: the %s ended without a STOP",
             down->actor == MSG__ACTOR__WATCHER ? "watcher" : "committer");
    stop_peers(r);
    fail(r, down->status < 0 ? down->status : EW_ERR_STATE, down->status < 0 ? down->detail : text);
}

/* ew_worker_stop also sets `stop_wanted`, so that a STOP message alone does not stop the worker. */
static void take_stop(reactor_actor *r) {
    if (!atomic_load(&r->stop_wanted)) {
        drop(r, "STOP: ew_worker_stop was not called");
        return;
    }
    stop_peers(r);
    fail(r, EW_ERR_CANCELLED, "stopped");
}

static void take_message(reactor_actor *r, const Msg__Message *m) {
    if (m->outcome != NULL) /* before the step, which may send the next batch */
        set_time(&r->counters.batch_sent_ms, 0);
    if (m->snapshot != NULL || m->events != NULL || m->progress != NULL || m->health != NULL || m->outcome != NULL ||
        m->audited != NULL)
        step(r, (ticking_event){.type = TICKING_MESSAGE, .message = m});
    if (m->snapshot != NULL && m->snapshot->last)
        r->loaded = true;
    if (m->outcome != NULL) {
        atomic_fetch_add_explicit(&r->counters.txns, m->outcome->txns, memory_order_relaxed);
        atomic_fetch_add_explicit(&r->counters.txns_resolved, m->outcome->resolved, memory_order_relaxed);
    }
    if (m->health != NULL) {
        r->connected = m->health->connected;
        if (m->health->interruptions > r->interruptions)
            r->interrupted_ms = etcd_now_ms();
        r->interruptions = m->health->interruptions;
        r->told_health = true;
    }
    if (m->stop != NULL)
        take_stop(r);
    if (m->session != NULL)
        take_session(r, m);
    if (m->down != NULL)
        take_down(r, m->down);
    if (m->patches != NULL || m->audit != NULL)
        drop(r, m->patches != NULL ? "PATCHES: not for a reactor" : "AUDIT: not for a reactor");
}

static void refuse_too_large(reactor_actor *r, const mailbox_message *raw) {
    char why[96];
    snprintf(why, sizeof why, "the request has %zu bytes; max_submit_bytes is %lld", raw->too_large,
             (long long)r->max_submit_bytes);
    refuse_request(r, raw->request, &r->counters.submits_too_large, EW_ERR_TOO_LARGE, why);
}

static void take_request(reactor_actor *r, const mailbox_message *raw) {
    int status;
    if (raw->too_large > 0) {
        refuse_too_large(r, raw);
        return;
    }
    Msg__Submit *submit = unpack_message(&msg__submit__descriptor, raw->body, &status);
    if (submit == NULL && status == EW_ERR_NO_MEMORY)
        reactor_reply(r, raw->request, status, 0, "out of memory");
    else if (submit == NULL)
        refuse_request(r, raw->request, &r->counters.submits_malformed, status, "the request is not a Submit message");
    else if (r->over)
        reactor_reply(r, raw->request,
                      submit->client.len > 0 || submit->sequence > 0 ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_CANCELLED, 0,
                      "the worker has stopped");
    else
        step(r, (ticking_event){.type = TICKING_SUBMIT, .submit = submit, .submit_id = raw->request});
    r->bad_messages += status == EW_ERR_BAD_MESSAGE;
    if (submit != NULL)
        msg__submit__free_unpacked(submit, NULL);
}

static void take(reactor_actor *r, const mailbox_message *raw) {
    if (raw->request != 0) {
        take_request(r, raw);
        return;
    }
    int status;
    Msg__Message *m = unpack_message(&msg__message__descriptor, raw->body, &status);
    if (status == EW_ERR_NO_MEMORY) {
        out_of_memory(r, "handling a message"); /* its content is lost, except a DOWN, which reactor_run waits for */
        r->peers &= ~bit_of(message_down_actor(raw->body));
        return;
    }
    if (m == NULL) {
        char why[64];
        snprintf(why, sizeof why, "a body of %zu bytes is not a Message", raw->body.len);
        broken(r, why);
        return;
    }
    take_message(r, m);
    msg__message__free_unpacked(m, NULL);
}

static void take_all(reactor_actor *r, size_t most) {
    mailbox_message raw;
    while (most-- > 0 && mailbox_take(r->mailbox, &raw)) {
        take(r, &raw);
        mailbox_message_free(&raw);
    }
}

/* ---- the run ---- */

static void publish_counters(reactor_actor *r) {
    ticking_stats s;
    ticking_get_stats(r->core, &s);
    reactor_counters *c = &r->counters;
#define PUBLISH(name, value) atomic_store_explicit(&c->name, value, memory_order_relaxed)
    PUBLISH(ready, r->connected && r->loaded && s.synced && !s.unsure && !r->over);
    PUBLISH(revision, s.revision);
    PUBLISH(barrier_revision, s.barrier_revision);
    PUBLISH(ticks, s.ticks);
    PUBLISH(events, s.events);
    PUBLISH(groups_committed, s.groups_committed);
    PUBLISH(groups_refused, s.groups_refused);
    PUBLISH(groups_dropped, s.groups_dropped);
    PUBLISH(snapshots, s.snapshots);
    PUBLISH(audits, s.audits);
    PUBLISH(audit_repairs, s.audit_repairs);
    PUBLISH(submits, s.submits);
    PUBLISH(submit_repeats, s.submit_repeats);
    PUBLISH(histories_rewritten, s.rewritten);
    PUBLISH(bad_messages, s.bad_messages + r->bad_messages);
    PUBLISH(keys, s.keys);
    PUBLISH(mirror_bytes, s.mirror_bytes);
#undef PUBLISH
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static listening *served(const reactor_actor *r) {
    return r->mailbox != NULL ? mailbox_served(r->mailbox) : NULL;
}

void reactor_count_connections(reactor_actor *r) {
    mailbox_connections sum = {0};
    listening_count(served(r), &sum);
    listening_count(publisher_served(r->ticks), &sum);
    atomic_store_explicit(&r->counters.connections, sum.accepted, memory_order_relaxed);
    atomic_store_explicit(&r->counters.connections_refused, sum.refused, memory_order_relaxed);
    atomic_store_explicit(&r->counters.connections_silent, sum.silent, memory_order_relaxed);
}

/* Does the upkeep of the sockets. Returns the time of the next upkeep. */
static int64_t look_at_sockets(reactor_actor *r, int64_t now_ms) {
    int64_t submit_ms = listening_look(served(r), now_ms);
    int64_t ticks_ms = listening_look(publisher_served(r->ticks), now_ms);
    reactor_count_connections(r);
    return least(submit_ms, ticks_ms);
}

static int64_t start_deadline_ms(const reactor_actor *r) {
    bool waiting = !r->loaded && r->start_timeout_ms > 0;
    return waiting ? r->started_ms + r->start_timeout_ms : INT64_MAX;
}

static int64_t next_deadline_ms(const reactor_actor *r) {
    return least(least(ticking_deadline_ms(r->core), start_deadline_ms(r)), absence_deadline_ms(&r->absence));
}

/* Sleeps until there is a message or until the deadline, but at most REACTOR_TURN_MS, so that a liveness probe does not
 * take the thread for hanging. */
static void sleep_until(reactor_actor *r, int64_t now_ms, int64_t deadline_ms, bool outcome_only) {
    int64_t turn_ms = now_ms + REACTOR_TURN_MS;
    set_time(&r->counters.turned_ms, now_ms);
    mailbox_wait(r->mailbox, least(deadline_ms, turn_ms), outcome_only);
}

static void fail_to_start(reactor_actor *r) {
    char detail[200];
    snprintf(
        detail, sizeof detail,
        "the prefix could not be loaded within start_timeout_ms: a compaction of etcd interrupted it %u times in a "
        "row; compact less often, or raise max_receive_bytes",
        (unsigned)r->interruptions);
    if (r->interruptions > 0)
        fail(r, EW_ERR_COMPACTED, detail);
    else
        fail(r, EW_ERR_UNAVAILABLE, "the prefix could not be loaded within start_timeout_ms");
}

/* After a compaction interrupted the load, the worker is not connected until the next load has finished, although etcd
 * is available: this does not count as missing for ABSENCE_EVERY_MS. */
static bool etcd_is_missing(const reactor_actor *r, int64_t now_ms) {
    bool interrupted = r->interruptions > 0 && now_ms - r->interrupted_ms < ABSENCE_EVERY_MS;
    return r->told_health && !r->connected && !interrupted;
}

static void round_once(reactor_actor *r) {
    enum { MOST = 1024 }; /* messages before the clock is read again */
    take_all(r, MOST);
    check_session(r);
    int64_t now_ms = etcd_now_ms();
    if (!r->over && ticking_deadline_ms(r->core) <= now_ms)
        step(r, (ticking_event){.type = TICKING_TIMER});
    if (!r->over && start_deadline_ms(r) <= now_ms) {
        stop_peers(r);
        fail_to_start(r);
    }
    absence_note(&r->absence, &r->log, etcd_is_missing(r, now_ms), now_ms, NULL);
    publish_counters(r);
    int64_t look_ms = look_at_sockets(r, now_ms);
    if (r->over || r->peers == 0) /* no peer is left that could send a message */
        return;
    sleep_until(r, now_ms, least(look_ms, next_deadline_ms(r)), ticking_wants_outcome_only(r->core));
}

void reactor_run(reactor_actor *r) {
    r->peers = PEERS;
    r->started_ms = etcd_now_ms();
    while (!r->over && r->peers > 0)
        round_once(r);
    if (!r->over) { /* both peers are down, and the core still waits for an outcome */
        r->over = true;
        r->status = EW_ERR_UNKNOWN_OUTCOME;
        snprintf(r->detail, sizeof r->detail, "the committer ended before it decided the batch");
    }
    stop_peers(r);
    int64_t deadline_ms = etcd_now_ms() + r->stop_timeout_ms + DOWN_MARGIN_MS;
    while (r->peers > 0 && etcd_now_ms() < deadline_ms) {
        take_all(r, SIZE_MAX);
        if (r->peers > 0)
            sleep_until(r, etcd_now_ms(), deadline_ms, false);
    }
    set_time(&r->counters.turned_ms, 0);
    set_time(&r->counters.batch_sent_ms, 0);
    publish_counters(r);
}
