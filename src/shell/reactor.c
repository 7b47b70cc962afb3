#include "shell/reactor.h"

#include "core/absence.h"
#include "core/bug.h"
#include "core/deadline.h"

#include <etcdworker/error.h>

#include <stdio.h>
#include <stdlib.h>

enum { PEERS = 1 << MSG__ACTOR__WATCHER | 1 << MSG__ACTOR__COMMITTER };

struct shell_reactor {
    shell_io *io;
    const reactor_ops *ops;
    ew_reactor table;
    void *self;
    ticking *core;
    ticking_effects spare; /* capacity for the effects of the next step */
    int64_t start_timeout_ms, stop_timeout_ms, started_ms;

    const ticking_effect *tick; /* NULL, except while the `tick` function of reactor_ops runs */
    bool ticking;
    int tick_status;
    char tick_detail[128];

    bool connected, loaded;
    bool health_known;      /* the watcher has reported whether it is connected */
    uint32_t interruptions; /* loads in a row that a compaction interrupted */
    int64_t interrupted_ms; /* when the last interruption was reported */

    bool stopping;  /* STOP was sent to the peers */
    unsigned peers; /* those that have not sent DOWN: one bit each */
    bool over;      /* the run has ended, with `status` and `detail` */
    int status;
    char detail[256];
    int64_t patience_ms; /* until when the reactor waits for its peers; INT64_MAX: the run has not ended */
    bool ended;
};

static void step(shell_reactor *r, ticking_event event);

static void end(shell_reactor *r, int status, const char *detail) {
    if (r->over)
        return;
    r->over = true;
    r->status = status;
    snprintf(r->detail, sizeof r->detail, "%s", detail ? detail : "");
}

/* ---- messages to the peers ---- */

static void stop_peers(shell_reactor *r) {
    if (r->stopping)
        return;
    r->stopping = true;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Stop stop = MSG__STOP__INIT;
    stop.timeout_ms = r->stop_timeout_ms;
    m.stop = &stop;
    r->ops->send(r->io, MSG__ACTOR__WATCHER, &m);
    r->ops->send(r->io, MSG__ACTOR__COMMITTER, &m);
}

/* Ends the run as soon as no batch is in flight. */
static void stop(shell_reactor *r, int status, const char *detail) {
    stop_peers(r);
    step(r, (ticking_event){.type = TICKING_STOP, .status = status, .detail = detail});
}

/* Sends a batch. If that fails, no outcome will come, so the run ends at once. */
static void commit(shell_reactor *r, const Msg__Patches *patches) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.patches = (Msg__Patches *)(uintptr_t)patches; /* only read */
    if (r->ops->send(r->io, MSG__ACTOR__COMMITTER, &m) != EW_OK)
        end(r, EW_ERR_NO_MEMORY, "sending a batch");
}

static void ask_watcher(shell_reactor *r, const ticking_effect *e) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Check check = MSG__CHECK__INIT;
    check.number = e->check;
    check.revision = e->revision;
    check.resync = e->type == TICKING_DO_RESYNC;
    check.rewritten = e->rewritten;
    m.check = &check;
    if (r->ops->send(r->io, MSG__ACTOR__WATCHER, &m) != EW_OK)
        end(r, EW_ERR_NO_MEMORY, "requesting a consistency check or a load");
}

/* ---- ticks ---- */

static void set_detail(shell_reactor *r, const char *function, int status) {
    if (status > 0)
        snprintf(r->tick_detail, sizeof r->tick_detail,
                 "the reactor's %s returned %s (%d), but only EW_OK or an error is valid", function, ew_errname(status),
                 status);
    else
        snprintf(r->tick_detail, sizeof r->tick_detail, "the reactor's %s failed", function);
}

static int show_changes(shell_reactor *r, bool reset, const char **function) {
    int status = EW_OK;
    ew_event event;
    *function = "reset";
    if (reset && r->table.reset)
        status = r->table.reset(r->self);
    if (status == EW_OK)
        *function = "update";
    while (status == EW_OK && ticking_take_update(r->core, &event))
        status = r->table.update(r->self, &event);
    return status;
}

void reactor_call(shell_reactor *r) {
    const char *function;
    int status = show_changes(r, r->tick->reset, &function);
    set_detail(r, function, status);
    if (status == EW_OK) {
        status = r->table.tick(r->self, r->tick->tick);
        set_detail(r, "tick", EW_OK);
    } else if (status > 0) {
        status = EW_ERR_REACTOR;
    }
    r->tick_status = status;
}

static void end_session(shell_reactor *r) {
    stop(r, EW_ERR_SESSION_DONE, "the session's lease expired or was revoked");
}

/* SEMANTICS 30: after the session's end the worker sends nothing, even if the SESSION message is still in the
 * mailbox. */
static void check_session(shell_reactor *r) {
    if (!r->stopping && !EW_BUG(session_unnoticed) && r->ops->session_is_lost(r->io))
        end_session(r);
}

void reactor_end_tick(shell_reactor *r) {
    const char *detail = r->tick_status < 0 ? r->tick_detail : NULL;
    r->ticking = false;
    check_session(r);
    step(r, (ticking_event){.type = TICKING_TICKED, .status = r->tick_status, .detail = detail});
}

bool reactor_is_ticking(const shell_reactor *r) {
    return r->ticking;
}

static void tick(shell_reactor *r, const ticking_effect *e) {
    r->ticking = true;
    r->tick = e;
    r->ops->tick(r->io, e->tick);
    r->tick = NULL;
}

/* ---- the core's effects ---- */

static void carry_out(shell_reactor *r, const ticking_effect *e) {
    switch (e->type) {
    case TICKING_DO_TICK:
        tick(r, e);
        break;
    case TICKING_DO_COMMIT:
        commit(r, e->patches);
        break;
    case TICKING_DO_CHECK:
    case TICKING_DO_RESYNC:
        ask_watcher(r, e);
        break;
    case TICKING_DO_STOP:
        stop_peers(r);
        break;
    case TICKING_DO_REPLY:
        r->ops->reply(r->io, e->submit_id, e->status, e->revision, e->detail);
        break;
    case TICKING_DO_END:
        end(r, e->status, e->detail);
        break;
    case TICKING_DO_LOG:
        r->io->ops->log(r->io, "reactor", e->status, e->detail, e->revision);
        break;
    }
}

/* Runs a step. The end of a tick runs a step inside a step; each has its own list of effects. */
static void step(shell_reactor *r, ticking_event event) {
    if (r->over)
        return;
    ticking_effects effects = r->spare;
    r->spare = (ticking_effects){0};
    event.now_ms = r->io->ops->now_ms(r->io);
    ticking_step(r->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(r, &effects.list[i]);
    ticking_effects_fini(&r->spare);
    r->spare = effects;
}

/* ---- messages to the reactor ---- */

/* Handles a SESSION message: the `worker_id` was taken, the session ended, or a lease was replaced. */
static void take_session(shell_reactor *r, const Msg__Message *m) {
    const Msg__Session *session = m->session;
    if (session->taken && !r->stopping) {
        stop(r, EW_ERR_FENCED,
             "another worker has taken this worker_id while this one was disconnected from etcd for longer than "
             "session_ttl_s");
    } else if (session->done || ((session->lost || session->session_lease != 0) && ticking_uses_session(r->core))) {
        check_session(r); /* the message is only a wake-up: the session's state decides */
    } else {
        step(r, (ticking_event){.type = TICKING_MESSAGE, .message = m});
        if (session->lease != 0 && !r->stopping)
            r->ops->send(r->io, MSG__ACTOR__COMMITTER, m);
    }
}

/* Passes the malformed body to the core, which decides whether the run continues. */
void reactor_take_malformed(shell_reactor *r, const char *why) {
    if (r->over)
        r->io->ops->bad_message(r->io, why);
    else
        step(r, (ticking_event){.type = TICKING_BROKEN, .detail = why});
}

static unsigned bit_of(Msg__Actor actor) {
    return actor == MSG__ACTOR__WATCHER || actor == MSG__ACTOR__COMMITTER ? 1U << actor : 0;
}

static void take_down(shell_reactor *r, const Msg__Down *down) {
    char text[128];
    const unsigned bit = bit_of(down->actor);
    if ((r->peers & bit) == 0) {
        snprintf(text, sizeof text, "DOWN: actor %d is %s", (int)down->actor, bit == 0 ? "not a peer" : "already down");
        reactor_take_malformed(r, text);
        return;
    }
    r->peers &= ~bit;
    if (r->stopping)
        return;
    snprintf(text, sizeof text, "DOWN: the %s ended without a STOP",
             down->actor == MSG__ACTOR__WATCHER ? "watcher" : "committer");
    stop(r, down->status < 0 ? down->status : EW_ERR_STATE, down->status < 0 ? down->detail : text);
}

static void take_stop(shell_reactor *r) {
    if (r->ops->stop_is_wanted(r->io))
        stop(r, EW_ERR_CANCELLED, "stopped");
    else
        r->io->ops->bad_message(r->io, "STOP: ew_worker_stop was not called");
}

static void take_health(shell_reactor *r, const Msg__Health *health) {
    r->connected = health->connected;
    if (health->interruptions > r->interruptions)
        r->interrupted_ms = r->io->ops->now_ms(r->io);
    r->interruptions = health->interruptions;
    r->health_known = true;
}

void reactor_take(shell_reactor *r, const Msg__Message *m) {
    if (m->snapshot || m->events || m->progress || m->health || m->outcome || m->checked)
        step(r, (ticking_event){.type = TICKING_MESSAGE, .message = m});
    if (m->snapshot && m->snapshot->last)
        r->loaded = true;
    if (m->health)
        take_health(r, m->health);
    if (m->stop)
        take_stop(r);
    if (m->session)
        take_session(r, m);
    if (m->down)
        take_down(r, m->down);
    if (m->patches || m->check)
        r->io->ops->bad_message(r->io, m->patches ? "PATCHES: not for a reactor" : "CHECK: not for a reactor");
}

void reactor_fail(shell_reactor *r, Msg__Actor down) {
    end(r, EW_ERR_NO_MEMORY, "handling a message");
    r->peers &= ~bit_of(down);
}

/* The reply to a submit with an identity is "unknown outcome", because an earlier copy may have been committed
 * (SEMANTICS 35). */
void reactor_submit(shell_reactor *r, const Msg__Submit *submit, uint64_t request) {
    bool named = submit->client.len > 0 || submit->sequence > 0;
    if (r->over)
        r->ops->reply(r->io, request, named ? EW_ERR_UNKNOWN_OUTCOME : EW_ERR_CANCELLED, 0, "the worker has stopped");
    else
        step(r, (ticking_event){.type = TICKING_SUBMIT, .submit = submit, .submit_id = request});
}

/* ---- rounds ---- */

static int64_t start_deadline_ms(const shell_reactor *r) {
    bool waiting = !r->loaded && r->start_timeout_ms > 0;
    return waiting ? r->started_ms + r->start_timeout_ms : INT64_MAX;
}

static void fail_to_start(shell_reactor *r) {
    char detail[200];
    snprintf(
        detail, sizeof detail,
        "the prefix could not be loaded within start_timeout_ms: a compaction of etcd interrupted it %u times in a "
        "row; compact less often, or raise max_receive_bytes",
        (unsigned)r->interruptions);
    if (r->interruptions > 0)
        stop(r, EW_ERR_COMPACTED, detail);
    else
        stop(r, EW_ERR_UNAVAILABLE, "the prefix could not be loaded within start_timeout_ms");
}

static int64_t wait_for_peers(shell_reactor *r, int64_t now_ms) {
    stop_peers(r);
    if (r->patience_ms == INT64_MAX)
        r->patience_ms = now_ms + r->stop_timeout_ms + REACTOR_DOWN_MARGIN_MS;
    r->ended = r->peers == 0 || now_ms >= r->patience_ms || EW_BUG(down_not_awaited);
    return r->patience_ms;
}

int64_t reactor_round(shell_reactor *r, int64_t now_ms) {
    check_session(r);
    if (!r->over && ticking_deadline_ms(r->core) <= now_ms)
        step(r, (ticking_event){.type = TICKING_TIMER});
    if (r->ticking)
        return INT64_MAX;
    if (!r->over && start_deadline_ms(r) <= now_ms)
        fail_to_start(r);
    if (r->peers == 0) /* no outcome can come any more */
        end(r, EW_ERR_UNKNOWN_OUTCOME, "the committer ended before it decided the batch");
    if (r->over)
        return wait_for_peers(r, now_ms);
    return deadline_earlier(start_deadline_ms(r), ticking_deadline_ms(r->core));
}

bool reactor_is_over(const shell_reactor *r) {
    return r->over;
}

bool reactor_ended(const shell_reactor *r, int *status, const char **detail) {
    if (!r->ended)
        return false;
    *status = r->status;
    *detail = r->detail;
    return true;
}

/* ---- its state ---- */

bool reactor_wants_outcome_only(const shell_reactor *r) {
    return !r->over && ticking_wants_outcome_only(r->core);
}

bool reactor_is_connected(const shell_reactor *r) {
    return r && r->connected;
}

bool reactor_is_ready(const shell_reactor *r) {
    ticking_stats s;
    ticking_get_stats(r->core, &s);
    return r->connected && r->loaded && s.synced && !s.unsure && !r->over;
}

/* After a compaction has interrupted a load, the worker is not connected until the next load has finished, although
 * etcd is available. So for ABSENCE_EVERY_MS after the interruption etcd does not count as missing. */
bool reactor_misses_etcd(const shell_reactor *r, int64_t now_ms) {
    bool interrupted = r->interruptions > 0 && now_ms - r->interrupted_ms < ABSENCE_EVERY_MS;
    return r->health_known && !r->connected && !interrupted;
}

const ticking *reactor_core(const shell_reactor *r) {
    return r->core;
}

/* ---- life ---- */

shell_reactor *reactor_new(const reactor_config *config) {
    shell_reactor *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->io = config->io;
    r->ops = config->ops;
    r->table = config->table;
    r->self = config->self;
    r->start_timeout_ms = config->start_timeout_ms;
    r->stop_timeout_ms = config->stop_timeout_ms;
    r->started_ms = r->io->ops->now_ms(r->io);
    r->peers = PEERS;
    r->patience_ms = INT64_MAX;
    r->core = ticking_new(config->core);
    if (!r->core) {
        free(r);
        return NULL;
    }
    return r;
}

void reactor_free(shell_reactor *r) {
    if (!r)
        return;
    ticking_free(r->core);
    ticking_effects_fini(&r->spare);
    free(r);
}
