#include "shell/watcher.h"

#include "core/bug.h"
#include "core/deadline.h"
#include "shell/down.h"
#include "shell/page_read.h"
#include "shell/watcher_check.h"
#include "shell/watching_message.h"

#include <etcdworker/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watcher {
    shell_io *io;
    watching *core;
    piggyback *piggyback;
    page_read read;
    io_stream *stream;
    watcher_check check;
    bool over; /* the core has ended, with these */
    bool down; /* DOWN was sent */
    int status;
    char detail[256];
    uint8_t burst[PIGGYBACK_HOLD_BYTES]; /* the events of this round, as one etcd WatchResponse */
    size_t burst_len;
    int64_t burst_revision;
    uint64_t burst_epoch;
    bool paused;           /* the receiver has no capacity: the stream is not read */
    bool stream_unstarted; /* out of memory: reported to the core in the next round */
    bool out_of_memory;
    _Atomic uint64_t reconnects;
};

static void step(watcher *w, watching_event event);

/* ---- the core's events ---- */

static void step_page(void *owner, watching_event event) {
    step(owner, event);
}

static void stream_message(void *arg, ew_slice bytes) {
    watcher *w = arg;
    w->io->ops->due(w->io);
    step(w, (watching_event){.type = WATCHING_RESPONSE, .bytes = bytes});
    if (w->piggyback)
        w->piggyback->send_awaited(w);
}

static void stream_ended(void *arg, int status, const char *detail) {
    watcher *w = arg;
    w->io->ops->due(w->io);
    w->stream = NULL;
    w->paused = false;
    step(w, (watching_event){.type = WATCHING_STREAM_ENDED, .status = status, .detail = detail});
}

/* ---- its effects: messages ---- */

static void pause_if_full(watcher *w) {
    if (w->stream && !w->paused && w->io->ops->busy(w->io)) {
        w->paused = true;
        w->io->ops->stream_pause(w->io, w->stream, true);
    }
}

static void send_message(watcher *w, const watching_effect *e) {
    watching_message out;
    watching_message_write(&out, e);
    int status = e->type == WATCHING_DO_SEND_EVENTS && w->piggyback
                     ? piggyback_send_events(w->piggyback, &out.message, e->revision, e->bytes.len)
                     : w->io->ops->send(w->io, &out.message, IO_SEND);
    if (status != EW_OK)
        w->out_of_memory = true;
    pause_if_full(w);
}

static void send_burst(watcher *w) {
    if (w->burst_len == 0)
        return;
    const watching_effect all = {.type = WATCHING_DO_SEND_EVENTS,
                                 .epoch = w->burst_epoch,
                                 .revision = w->burst_revision,
                                 .bytes = {w->burst, w->burst_len}};
    w->burst_len = 0;
    send_message(w, &all);
}

static void send_awaited(void *arg) {
    watcher *w = arg;
    int64_t awaited = piggyback_awaited(w->piggyback);
    if (awaited > 0 && w->burst_len > 0 && w->burst_revision >= awaited)
        send_burst(w);
}

/* Events that come in one round are one message: protobuf joins lists by concatenation, and of two headers the last
 * one counts. Returns false for a response that is too large for that. */
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
    if (e->type == WATCHING_DO_SEND_EVENTS && add_to_burst(w, e))
        return;
    send_burst(w);
    send_message(w, e);
}

/* ---- its effects: the stream ---- */

static void request(watcher *w, ew_slice bytes) {
    if (w->stream && w->io->ops->stream_send(w->io, w->stream, bytes) != EW_OK)
        w->io->ops->stream_cancel(w->io, w->stream);
}

static void open_stream(watcher *w, ew_slice bytes) {
    static const io_stream_callbacks callbacks = {stream_message, stream_ended};
    w->stream = w->io->ops->stream_open(w->io, callbacks, w);
    if (!w->stream) {
        w->stream_unstarted = true;
        w->io->ops->due(w->io);
    }
    request(w, bytes);
    pause_if_full(w); /* or each of many broken streams would send one more message */
}

static void end(watcher *w, int status, const char *detail) {
    w->over = true;
    w->status = status;
    snprintf(w->detail, sizeof w->detail, "%s", detail ? detail : "");
    watcher_check_stop(&w->check);
}

static void carry_out(watcher *w, const watching_effect *e) {
    switch (e->type) {
    case WATCHING_DO_RANGE:
        page_read_start(&w->read, e->bytes, e->whole);
        break;
    case WATCHING_DO_CANCEL_RANGE:
        page_read_cancel(&w->read);
        break;
    case WATCHING_DO_OPEN:
        open_stream(w, e->bytes);
        break;
    case WATCHING_DO_REQUEST:
        request(w, e->bytes);
        break;
    case WATCHING_DO_CLOSE:
        if (w->stream)
            w->io->ops->stream_cancel(w->io, w->stream);
        break;
    case WATCHING_DO_SEND_SNAPSHOT:
    case WATCHING_DO_SEND_EVENTS:
    case WATCHING_DO_SEND_PROGRESS:
    case WATCHING_DO_SEND_HEALTH:
        send_effect(w, e);
        break;
    case WATCHING_DO_END:
        end(w, e->status, e->detail);
        break;
    case WATCHING_DO_LOG:
        w->io->ops->log(w->io, "watcher", e->status, e->detail, e->revision);
        break;
    }
}

static void step(watcher *w, watching_event event) {
    if (w->over)
        return;
    watching_effects effects;
    event.now_ms = w->io->ops->now_ms(w->io);
    watching_step(w->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(w, &effects.list[i]);
    atomic_store_explicit(&w->reconnects, watching_reconnects(w->core), memory_order_relaxed);
}

/* ---- what comes from outside ---- */

void watcher_start(watcher *w) {
    step(w, (watching_event){.type = WATCHING_START});
}

void watcher_stop(watcher *w) {
    step(w, (watching_event){.type = WATCHING_STOP});
}

static void take_check(watcher *w, const Msg__Check *asked) {
    if (asked->resync)
        step(w, (watching_event){.type = WATCHING_RESYNC, .revision = asked->revision, .rewritten = asked->rewritten});
    else if (!w->over)
        watcher_check_start(&w->check, asked);
}

void watcher_take(watcher *w, const Msg__Message *m) {
    if (m->stop)
        watcher_stop(w);
    else if (m->check)
        take_check(w, m->check);
    else
        w->io->ops->bad_message(w->io, "not for a watcher");
}

void watcher_take_malformed(watcher *w) {
    if (w->piggyback)
        step(w, (watching_event){.type = WATCHING_RESYNC});
}

void watcher_fail(watcher *w) {
    if (w->over)
        return;
    page_read_cancel(&w->read);
    if (w->stream)
        w->io->ops->stream_cancel(w->io, w->stream);
    end(w, EW_ERR_NO_MEMORY, "taking or sending a message");
    w->io->ops->due(w->io); /* there may be nothing to wait for */
}

void watcher_resume(watcher *w) {
    page_read_resume(&w->read);
    watcher_check_resume(&w->check);
    if (w->paused && w->stream && !EW_BUG(pause_kept)) {
        w->paused = false;
        step(w, (watching_event){.type = WATCHING_READ_ON});
        w->io->ops->stream_pause(w->io, w->stream, false);
    }
}

/* ---- rounds ---- */

static int64_t release_held(watcher *w, int64_t now_ms) {
    int64_t next_ms = INT64_MAX;
    if (w->piggyback && piggyback_release(w->piggyback, now_ms, &next_ms) != EW_OK)
        w->out_of_memory = true;
    return next_ms;
}

static bool is_at_rest(const watcher *w) {
    return !page_read_is_open(&w->read) && !w->stream && !w->stream_unstarted && !watcher_check_runs(&w->check);
}

static void go_down(watcher *w) {
    w->down = true;
    if (w->piggyback)
        atomic_store(&w->piggyback->unwatched, true);
    down_send(w->io, MSG__ACTOR__WATCHER, w->status, w->detail);
}

int64_t watcher_round(watcher *w, int64_t now_ms) {
    send_burst(w);
    page_read_round(&w->read);
    if (w->stream_unstarted) {
        w->stream_unstarted = false;
        stream_ended(w, EW_ERR_NO_MEMORY, "starting a stream");
    }
    /* The silence of a stream that is not read has no meaning. */
    if (!w->over && !w->paused && watching_deadline_ms(w->core) <= now_ms)
        step(w, (watching_event){.type = WATCHING_TIMER});
    int64_t next_ms = deadline_earlier(watcher_check_round(&w->check, now_ms), release_held(w, now_ms));
    if (w->out_of_memory)
        watcher_fail(w);
    if (w->over && !w->down && is_at_rest(w))
        go_down(w);
    return w->paused || w->over ? next_ms : deadline_earlier(next_ms, watching_deadline_ms(w->core));
}

bool watcher_ended(const watcher *w, int *status, const char **detail) {
    if (!w->down)
        return false;
    *status = w->status;
    *detail = w->detail;
    return true;
}

uint64_t watcher_get_reconnects(const watcher *w) {
    return atomic_load_explicit(&w->reconnects, memory_order_relaxed);
}

const watching *watcher_core(const watcher *w) {
    return w->core;
}

/* ---- life ---- */

watcher *watcher_new(const watcher_config *config) {
    watcher *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->io = config->io;
    w->piggyback = config->piggyback;
    if (w->piggyback) {
        w->piggyback->io = w->io;
        w->piggyback->send_awaited = send_awaited;
        w->piggyback->watcher = w;
    }
    page_read_init(&w->read, w->io, config->call_timeout_ms, step_page, w);
    watcher_check_init(&w->check, w->io, config->core, config->call_timeout_ms, &w->out_of_memory);
    w->core = watching_new(config->core);
    if (!w->core) {
        free(w);
        return NULL;
    }
    return w;
}

void watcher_free(watcher *w) {
    if (!w)
        return;
    watcher_check_fini(&w->check);
    page_read_fini(&w->read);
    watching_free(w->core);
    free(w);
}
