#include "actors/actor.h"
#include "actors/audit.h"
#include "actors/message.h"
#include "actors/sockets.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "core/prefix.h"
#include "core/watching.h"
#include "core/watching_letter.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct watcher {
    ew_actor base; /* first: an ew_actor is a watcher */
    watching *core;
    watching_config config;
    int64_t call_timeout_ms;
    etcd_call *range;
    ew_slice waiting_range; /* the request of a page that the receiver has no room for yet; malloced */
    bool whole_range;       /* the page that was asked for last is the whole prefix */
    etcd_stream *stream;
    audit audit;
    bool over; /* the core has ended; `over_status` and `over_detail` say how */
    int over_status;
    char over_detail[256];
    uint8_t burst[JOINT_HOLD_BYTES]; /* the events of this round, as one etcd WatchResponse */
    size_t burst_len;
    int64_t burst_revision;
    uint64_t burst_epoch;
    bool paused;                            /* the receiver is behind: the stream is not read */
    bool range_unstarted, stream_unstarted; /* out of memory: told to the core in the next round, as a failure */
    _Atomic bool room;                      /* the receiver has caught up */
    joint *joint;                           /* NULL for a watcher by itself */
    _Atomic uint64_t reconnects;
} watcher;

static void step(watcher *w, watching_event event);

/* ---- the core's events ---- */

static void range_answered(void *arg, int status, const char *detail, ew_slice bytes) {
    watcher *w = arg;
    etcd_task_due(&w->base.task);
    w->range = NULL;
    step(w, (watching_event){.type = status == EW_OK ? WATCHING_PAGE : WATCHING_PAGE_FAILED,
                             .bytes = bytes,
                             .status = status,
                             .detail = detail});
}

static void stream_message(void *arg, ew_slice bytes) {
    watcher *w = arg;
    etcd_task_due(&w->base.task);
    step(w, (watching_event){.type = WATCHING_RESPONSE, .bytes = bytes});
    if (w->joint != NULL)
        watcher_send_awaited(&w->base);
}

static void stream_ended(void *arg, int status, const char *detail) {
    watcher *w = arg;
    etcd_task_due(&w->base.task);
    w->stream = NULL;
    w->paused = false;
    step(w, (watching_event){.type = WATCHING_STREAM_ENDED, .status = status, .detail = detail});
}

/* ---- its effects ---- */

/* Events go out at once, with an outcome that waits for them; or they wait for one themselves. */
static void send_events(watcher *w, const Msg__Message *m, int64_t revision, size_t bytes) {
    joint *j = w->joint;
    int status;
    if (j == NULL || bytes > JOINT_HOLD_BYTES) {
        status = outbox_send(w->base.outbox, m);
    } else if (atomic_load(&j->in_flight)) {
        status = outbox_hold(w->base.outbox, m);
        atomic_store(&j->held_until_ms, etcd_now_ms() + JOINT_HOLD_MS);
    } else {
        status = outbox_join(w->base.outbox, m);
        atomic_store(&j->held_until_ms, INT64_MAX);
    }
    if (j != NULL) {
        atomic_store(&j->revision, revision);
        atomic_store(&j->awaited, 0); /* nothing is held for an event of before */
    }
    if (status != EW_OK)
        w->base.out_of_memory = true;
}

static void pause_if_full(watcher *w) {
    if (w->stream != NULL && !w->paused && outbox_busy(w->base.outbox)) {
        w->paused = true;
        etcd_stream_pause(w->stream);
    }
}

static void send_burst(watcher *w) {
    if (w->burst_len == 0)
        return;
    const watching_effect all = {.type = WATCHING_DO_SEND_EVENTS,
                                 .epoch = w->burst_epoch,
                                 .revision = w->burst_revision,
                                 .bytes = {w->burst, w->burst_len}};
    watching_letter letter;
    watching_letter_write(&letter, &all);
    w->burst_len = 0;
    send_events(w, &letter.message, all.revision, all.bytes.len);
    pause_if_full(w);
}

void watcher_send_awaited(ew_actor *a) {
    watcher *w = (watcher *)a;
    int64_t awaited = atomic_load(&w->joint->awaited);
    if (awaited > 0 && w->burst_len > 0 && w->burst_revision >= awaited)
        send_burst(w);
}

/* What came together, because the watcher was late or etcd fast, is one message: protobuf joins lists by concatenation,
 * and of the header the last one counts. Answers false for what is too large to be joined. */
static bool add_to_burst(watcher *w, const watching_effect *e) {
    if (w->burst_len + e->bytes.len > sizeof w->burst || (w->burst_len > 0 && w->burst_epoch != e->epoch))
        send_burst(w);
    if (e->bytes.len > sizeof w->burst)
        return false;
    memcpy(w->burst + w->burst_len, e->bytes.data, e->bytes.len);
    w->burst_len += e->bytes.len;
    w->burst_revision = e->revision;
    w->burst_epoch = e->epoch;
    return true;
}

static void send_effect(watcher *w, const watching_effect *e) {
    watching_letter letter;
    bool events = e->type == WATCHING_DO_SEND_EVENTS;
    if (events && add_to_burst(w, e))
        return;
    send_burst(w);
    watching_letter_write(&letter, e);
    if (events)
        send_events(w, &letter.message, e->revision, e->bytes.len);
    else
        actor_send(&w->base, &letter.message);
    pause_if_full(w);
}

static void open_stream(watcher *w, const watching_effect *e) {
    static const etcd_stream_callbacks callbacks = {stream_message, stream_ended};
    w->stream = etcd_stream_open(w->base.client, w->base.queue, ETCD_WATCH, callbacks, w);
    w->stream_unstarted = w->stream == NULL;
    if (w->stream != NULL && etcd_stream_send(w->stream, e->bytes) != EW_OK)
        etcd_stream_cancel(w->stream);
    pause_if_full(w); /* or streams that break again and again would each say something more */
}

/* A page has the time of any call. The whole prefix in one answer is the last resort of a load, and gets more. */
static void start_page(watcher *w, ew_slice request) {
    enum { WHOLE_TIMES = 8 };
    int64_t timeout_ms = w->whole_range ? WHOLE_TIMES * w->call_timeout_ms : w->call_timeout_ms;
    w->range = etcd_call_start(w->base.client, w->base.queue, ETCD_RANGE, request, timeout_ms, range_answered, w);
    w->range_unstarted = w->range == NULL;
}

static void start_waiting_page(watcher *w) {
    ew_slice request = w->waiting_range;
    w->waiting_range = (ew_slice){0};
    start_page(w, request);
    free((void *)(uintptr_t)request.data);
}

/* The next page is asked for when there is room for it: a slow reactor must not find the whole prefix in its mailbox.
 */
static void read_page(watcher *w, ew_slice request) {
    if (!outbox_busy(w->base.outbox)) {
        start_page(w, request);
        return;
    }
    void *copy = malloc(request.len);
    w->range_unstarted = copy == NULL;
    if (copy != NULL)
        w->waiting_range = (ew_slice){memcpy(copy, request.data, request.len), request.len};
}

static void carry_out(watcher *w, const watching_effect *e) {
    switch (e->type) {
    case WATCHING_DO_RANGE:
        w->whole_range = e->whole;
        read_page(w, e->bytes);
        break;
    case WATCHING_DO_CANCEL_RANGE:
        if (w->waiting_range.data != NULL)
            start_waiting_page(w);
        if (w->range != NULL)
            etcd_call_cancel(w->range);
        break;
    case WATCHING_DO_OPEN:
        open_stream(w, e);
        break;
    case WATCHING_DO_REQUEST:
        if (w->stream != NULL && etcd_stream_send(w->stream, e->bytes) != EW_OK)
            etcd_stream_cancel(w->stream);
        break;
    case WATCHING_DO_CLOSE:
        if (w->stream != NULL)
            etcd_stream_cancel(w->stream);
        break;
    case WATCHING_DO_SEND_SNAPSHOT:
    case WATCHING_DO_SEND_EVENTS:
    case WATCHING_DO_SEND_PROGRESS:
    case WATCHING_DO_SEND_HEALTH:
        send_effect(w, e);
        break;
    case WATCHING_DO_END:
        w->over = true;
        w->over_status = e->status;
        snprintf(w->over_detail, sizeof w->over_detail, "%s", e->detail != NULL ? e->detail : "");
        audit_stop(&w->audit);
        break;
    case WATCHING_DO_LOG:
        actor_log(w->base.worker, "watcher", e->status, e->detail, e->revision);
        break;
    }
}

static void step(watcher *w, watching_event event) {
    if (w->over)
        return;
    watching_effects effects;
    event.now_ms = etcd_now_ms();
    watching_step(w->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(w, &effects.list[i]);
    atomic_store_explicit(&w->reconnects, watching_reconnects(w->core), memory_order_relaxed);
}

/* ---- the actor ---- */

static void watcher_start(ew_actor *a) {
    step((watcher *)a, (watching_event){.type = WATCHING_START});
}

static void watcher_arrived(void *arg) {
    etcd_task_wake(&((ew_actor *)arg)->task);
}

static void watcher_room(void *arg) {
    watcher *w = arg;
    atomic_store(&w->room, true);
    etcd_task_wake(&w->base.task);
}

static void take_audit(watcher *w, const Msg__Audit *asked) {
    if (asked->resync)
        step(w, (watching_event){.type = WATCHING_RESYNC, .revision = asked->revision, .rewritten = asked->rewritten});
    else if (!w->over)
        audit_start(&w->audit, asked);
}

static void take_messages(watcher *w) {
    Msg__Message *m;
    while ((m = actor_take(&w->base)) != NULL) {
        if (m->stop != NULL)
            step(w, (watching_event){.type = WATCHING_STOP});
        else if (m->audit != NULL)
            take_audit(w, m->audit);
        else
            actor_count_bad(&w->base, "not for a watcher");
        msg__message__free_unpacked(m, NULL);
    }
    if (w->base.malformed &&
        w->joint != NULL) /* it may have asked for a load, or for an audit, which a load replaces */
        step(w, (watching_event){.type = WATCHING_RESYNC});
    w->base.malformed = false;
}

/* A message is lost, so nothing that is said from here on is true. The core is not asked any more. */
static void give_up(watcher *w) {
    w->over = true;
    w->over_status = EW_ERR_NO_MEMORY;
    snprintf(w->over_detail, sizeof w->over_detail, "taking or sending a message");
    if (w->range != NULL)
        etcd_call_cancel(w->range);
    if (w->stream != NULL)
        etcd_stream_cancel(w->stream);
    free((void *)(uintptr_t)w->waiting_range.data);
    w->waiting_range = (ew_slice){0};
    audit_stop(&w->audit);
}

/* A call or a stream that could not even be started is told to the core as one that failed. */
static void tell_unstarted(watcher *w) {
    if (w->range_unstarted) {
        w->range_unstarted = false;
        range_answered(w, EW_ERR_NO_MEMORY, "starting a call", (ew_slice){0});
    }
    if (w->stream_unstarted) {
        w->stream_unstarted = false;
        stream_ended(w, EW_ERR_NO_MEMORY, "starting a stream");
    }
}

/* Lets go what has waited long enough; answers until when the rest waits. */
static int64_t release_held(watcher *w, int64_t now_ms) {
    if (w->joint == NULL)
        return INT64_MAX;
    int64_t until_ms = atomic_load(&w->joint->held_until_ms);
    if (until_ms > now_ms)
        return until_ms;
    atomic_store(&w->joint->held_until_ms, INT64_MAX);
    atomic_store(&w->joint->awaited, 0);
    if (outbox_release(w->base.outbox) != EW_OK)
        w->base.out_of_memory = true;
    return INT64_MAX;
}

/* The receiver has room again. */
static void read_on(watcher *w) {
    if (w->waiting_range.data != NULL)
        start_waiting_page(w);
    audit_room(&w->audit);
    if (w->paused && w->stream != NULL) {
        w->paused = false;
        step(w, (watching_event){.type = WATCHING_READ_ON});
        etcd_stream_resume(w->stream);
    }
}

static int64_t watcher_round(ew_actor *a, int64_t now_ms) {
    watcher *w = (watcher *)a;
    send_burst(w);
    take_messages(w);
    if (atomic_exchange(&a->stop_timeout_ms, 0) != 0)
        step(w, (watching_event){.type = WATCHING_STOP});
    if (atomic_exchange(&w->room, false) && !outbox_busy(a->outbox))
        read_on(w);
    tell_unstarted(w);
    /* A stream that is not read is silent for no fault of its own. */
    if (!w->over && !w->paused && watching_deadline_ms(w->core) <= now_ms)
        step(w, (watching_event){.type = WATCHING_TIMER});
    int64_t audit_ms = audit_round(&w->audit, now_ms);
    int64_t held_until_ms = release_held(w, now_ms);
    if (a->out_of_memory && !w->over)
        give_up(w);
    if (w->over && w->range == NULL && w->stream == NULL && !audit_runs(&w->audit) && !a->ended)
        actor_end(a, w->over_status, w->over_detail);
    int64_t deadline_ms = w->paused || w->over ? INT64_MAX : watching_deadline_ms(w->core);
    deadline_ms = deadline_ms < held_until_ms ? deadline_ms : held_until_ms;
    return deadline_ms < audit_ms ? deadline_ms : audit_ms;
}

/* The committer's calls complete in this thread's queue, also those it still decides when the watcher is done. */
static bool watcher_needed(const ew_actor *a) {
    const watcher *w = (const watcher *)a;
    return w->joint != NULL && !atomic_load(&w->joint->closed);
}

static void watcher_fini(ew_actor *a) {
    watcher *w = (watcher *)a;
    audit_fini(&w->audit);
    watching_free(w->core);
    free((void *)(uintptr_t)w->waiting_range.data);
    free((void *)(uintptr_t)w->config.key.data);
    free((void *)(uintptr_t)w->config.range_end.data);
}

uint64_t watcher_reconnects(const ew_actor *a) {
    return atomic_load_explicit(&((const watcher *)a)->reconnects, memory_order_relaxed);
}

static bool watcher_configure(watcher *w, const ew_options *o) {
    char *prefix = prefix_normalise(o->prefix);
    bool ranged =
        prefix != NULL && prefix_range(ew_str(prefix), o->prefix_match == 1, &w->config.key, &w->config.range_end);
    free(prefix);
    if (!ranged)
        return false;
    w->call_timeout_ms = o->call_timeout_ms;
    w->config.page_bytes = o->page_bytes;
    w->config.receive_bytes = o->max_receive_bytes;
    w->config.backoff_min_ms = o->backoff_min_ms;
    w->config.backoff_max_ms = o->backoff_max_ms;
    w->config.silence_ms = o->watch_silence_ms;
    w->config.seed = (uint64_t)etcd_now_ms() ^ (uint64_t)(uintptr_t)w;
    audit_init(&w->audit, &w->base, &w->config, w->call_timeout_ms);
    w->core = watching_new(&w->config);
    return w->core != NULL;
}

int watcher_start_joint(ew_actor **out, ew_client *client, const ew_options *options, joint *j, const char *mailbox_url,
                        const char *peer_url, ew_error *err) {
    static const actor_ops ops = {
        MSG__ACTOR__WATCHER, ETCD_LOOP_WATCH, "watcher",      watcher_start, watcher_arrived,
        watcher_room,        watcher_round,   watcher_needed, watcher_fini,
    };
    *out = NULL;
    watcher *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ew_fail(err, EW_ERR_NO_MEMORY, "starting the watcher");
    w->joint = j;
    int status = actor_init(&w->base, &ops, client, options, mailbox_url, peer_url, err);
    if (status != EW_OK) {
        free(w);
        return status;
    }
    if (!watcher_configure(w, options)) {
        actor_free(&w->base);
        return ew_fail(err, EW_ERR_NO_MEMORY, "starting the watcher");
    }
    actor_launch(&w->base);
    *out = &w->base;
    return EW_OK;
}

int ew_watcher_start(ew_actor **out, ew_client *client, const ew_options *options, const char *mailbox_url,
                     const char *peer_url, ew_error *err) {
    if (actor_arguments_missing(out, client, options, mailbox_url, peer_url, __func__, err))
        return EW_ERR_INVALID;
    *out = NULL;
    int status = sockets_check_actor(mailbox_url, peer_url, err);
    return status == EW_OK ? watcher_start_joint(out, client, options, NULL, mailbox_url, peer_url, err) : status;
}
