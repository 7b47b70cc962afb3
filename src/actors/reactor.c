#include "actors/reactor.h"

#include "actors/actor.h"
#include "actors/message.h"
#include "core/deadline.h"
#include "core/log.h"
#include "core/unpack.h"
#include "etcd/etcd.h"

#include <stdio.h>

static reactor_actor *mine(shell_io *io) {
    return (reactor_actor *)io;
}

static void set_time(_Atomic int64_t *time, int64_t now_ms) {
    atomic_store_explicit(time, now_ms, memory_order_relaxed);
}

static void count(_Atomic uint64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- the shell's I/O ---- */

static int64_t now_ms(shell_io *io) {
    (void)io;
    return etcd_now_ms();
}

static void bad_message(shell_io *io, const char *why) {
    reactor_actor *r = mine(io);
    uint64_t left_out;
    r->bad_messages++;
    if (log_limit_passes(&r->message_limit, etcd_now_ms(), &left_out))
        log_fields(EW_LOG_WARN, &r->log, "reactor", "message dropped", {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
}

static void write_log(shell_io *io, const char *area, int level, const char *message, int64_t revision) {
    actor_log(&mine(io)->log, area, level, message, revision);
}

static int send_message(shell_io *io, Msg__Actor to, const Msg__Message *message) {
    reactor_actor *r = mine(io);
    int status = outbox_send(to == MSG__ACTOR__WATCHER ? r->to_watcher : r->to_committer, message);
    if (message->patches && status == EW_OK)
        set_time(&r->counters.batch_sent_ms, etcd_now_ms());
    return status;
}

static bool session_is_lost(shell_io *io) {
    const reactor_actor *r = mine(io);
    return r->session_is_lost(r->session_arg);
}

static bool stop_is_wanted(shell_io *io) {
    return atomic_load(&mine(io)->stop_wanted);
}

/* ---- ticks ---- */

static void publish_tick(reactor_actor *r, uint64_t number, int64_t revision, uint32_t groups) {
    Msg__TickNote note = MSG__TICK_NOTE__INIT;
    uint8_t body[64]; /* three varints with tags: at most 33 bytes */
    note.number = number;
    note.revision = revision;
    note.groups = groups;
    publisher_send(r->ticks, (ew_slice){body, msg__tick_note__pack(&note, body)});
}

static void tick(shell_io *io, const ew_tick *t) {
    reactor_actor *r = mine(io);
    uint64_t number = ew_tick_number(t);
    int64_t revision = ew_tick_revision(t), before_ms = etcd_now_ms();
    set_time(&r->counters.tick_began_ms, before_ms);
    reactor_call(r->reactor);
    set_time(&r->counters.tick_began_ms, 0);
    int64_t took_ms = etcd_now_ms() - before_ms;
    if (took_ms > r->slow_tick_ms) {
        count(&r->counters.slow_ticks);
        log_fields(EW_LOG_WARN, &r->log, "reactor", "slow tick", {"ms", NULL, took_ms}, {"revision", NULL, revision});
    }
    uint32_t groups = ticking_tick_groups(t);
    reactor_end_tick(r->reactor);
    if (r->ticks)
        publish_tick(r, number, revision, groups);
}

/* ---- submits ---- */

static void reply(reactor_actor *r, uint64_t request, int status, int64_t revision, const char *detail) {
    char cut[256];
    snprintf(cut, sizeof cut, "%s", detail ? detail : "");
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

static void reply_to_submit(shell_io *io, uint64_t request, int status, int64_t revision, const char *detail) {
    reactor_reply(mine(io), request, status, revision, detail);
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
    if (!submit && status == EW_ERR_NO_MEMORY)
        reactor_reply(r, raw->request, status, 0, "out of memory");
    else if (!submit)
        refuse_request(r, raw->request, &r->counters.submits_malformed, status, "the request is not a Submit message");
    else
        reactor_submit(r->reactor, submit, raw->request);
    r->bad_messages += status == EW_ERR_BAD_MESSAGE;
    if (submit)
        msg__submit__free_unpacked(submit, NULL);
}

/* ---- messages ---- */

/* Updates the statistics. Call before the reactor takes the outcome, because it may then send the next batch. */
static void note_outcome(reactor_actor *r, const Msg__Outcome *outcome) {
    set_time(&r->counters.batch_sent_ms, 0);
    atomic_fetch_add_explicit(&r->counters.txns, outcome->txns, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->counters.txns_resolved, outcome->resolved, memory_order_relaxed);
}

static void take(reactor_actor *r, const mailbox_message *raw) {
    if (raw->request != 0) {
        take_request(r, raw);
        return;
    }
    int status;
    char why[64];
    Msg__Message *m = unpack_message(&msg__message__descriptor, raw->body, &status);
    if (status == EW_ERR_NO_MEMORY) {
        reactor_fail(r->reactor, message_down_actor(raw->body));
        return;
    }
    if (!m) {
        snprintf(why, sizeof why, "a body of %zu bytes is not a Message", raw->body.len);
        reactor_take_malformed(r->reactor, why);
        return;
    }
    if (m->outcome)
        note_outcome(r, m->outcome);
    reactor_take(r->reactor, m);
    msg__message__free_unpacked(m, NULL);
}

/* Takes waiting messages, at most MOST of them, so that the clock is read in between. */
static void take_waiting(reactor_actor *r) {
    enum { MOST = 1024 };
    mailbox_message raw;
    for (int i = 0; i < MOST && mailbox_take(r->mailbox, &raw); i++) {
        take(r, &raw);
        mailbox_message_free(&raw);
    }
}

/* ---- the run ---- */

static void publish_counters(reactor_actor *r) {
    ticking_stats s;
    ticking_get_stats(reactor_core(r->reactor), &s);
    reactor_counters *c = &r->counters;
#define PUBLISH(name, value) atomic_store_explicit(&c->name, value, memory_order_relaxed)
    PUBLISH(ready, reactor_is_ready(r->reactor));
    PUBLISH(revision, s.revision);
    PUBLISH(barrier_revision, s.barrier_revision);
    PUBLISH(ticks, s.ticks);
    PUBLISH(events, s.events);
    PUBLISH(groups_committed, s.groups_committed);
    PUBLISH(groups_refused, s.groups_refused);
    PUBLISH(groups_dropped, s.groups_dropped);
    PUBLISH(snapshots, s.snapshots);
    PUBLISH(checks, s.checks);
    PUBLISH(check_repairs, s.check_repairs);
    PUBLISH(submits, s.submits);
    PUBLISH(submit_repeats, s.submit_repeats);
    PUBLISH(histories_rewritten, s.rewritten);
    PUBLISH(bad_messages, s.bad_messages + r->bad_messages);
    PUBLISH(keys, s.keys);
    PUBLISH(cache_bytes, s.cache_bytes);
#undef PUBLISH
}

static listening *served(const reactor_actor *r) {
    return r->mailbox ? mailbox_served(r->mailbox) : NULL;
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
    return deadline_earlier(submit_ms, ticks_ms);
}

static int64_t note_absence(reactor_actor *r, int64_t now_ms) {
    absence_note(&r->absence, &r->log, reactor_misses_etcd(r->reactor, now_ms), now_ms, NULL);
    return absence_deadline_ms(&r->absence);
}

/* Sleeps until a message arrives or until the deadline, but for REACTOR_TURN_MS at most: otherwise /livez would report
 * that the thread hangs. */
static void sleep_until(reactor_actor *r, int64_t now_ms, int64_t deadline_ms) {
    set_time(&r->counters.turned_ms, now_ms);
    mailbox_wait(r->mailbox, deadline_earlier(deadline_ms, now_ms + REACTOR_TURN_MS),
                 reactor_wants_outcome_only(r->reactor));
}

/* Runs one round, then sleeps. Returns whether the reactor has ended. */
static bool round_once(reactor_actor *r, int *status, const char **detail) {
    take_waiting(r);
    int64_t now_ms = etcd_now_ms(), next_ms = reactor_round(r->reactor, now_ms);
    if (!reactor_is_over(r->reactor))
        next_ms = deadline_earlier(next_ms, note_absence(r, now_ms));
    publish_counters(r);
    next_ms = deadline_earlier(next_ms, look_at_sockets(r, now_ms));
    if (reactor_ended(r->reactor, status, detail))
        return true;
    sleep_until(r, now_ms, next_ms);
    return false;
}

void reactor_run(reactor_actor *r) {
    const char *detail = "";
    set_time(&r->counters.turned_ms, etcd_now_ms()); /* the first round may already tick */
    while (!round_once(r, &r->status, &detail)) {
    }
    snprintf(r->detail, sizeof r->detail, "%s", detail);
    set_time(&r->counters.turned_ms, 0);
    set_time(&r->counters.batch_sent_ms, 0);
}

int reactor_prepare(reactor_actor *r, const ticking_config *core) {
    static const io_ops io = {.now_ms = now_ms, .bad_message = bad_message, .log = write_log};
    static const reactor_ops ops = {
        .send = send_message,
        .tick = tick,
        .reply = reply_to_submit,
        .session_is_lost = session_is_lost,
        .stop_is_wanted = stop_is_wanted,
    };
    r->io.ops = &io;
    r->reactor = reactor_new(&(reactor_config){
        .io = &r->io,
        .ops = &ops,
        .table = r->table,
        .self = r->self,
        .core = core,
        .start_timeout_ms = r->start_timeout_ms,
        .stop_timeout_ms = r->stop_timeout_ms,
    });
    return r->reactor ? EW_OK : EW_ERR_NO_MEMORY;
}
