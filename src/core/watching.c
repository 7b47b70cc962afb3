#include "core/watching_internal.h"

#include "core/backoff.h"
#include "core/check.h"
#include "core/slice.h"

#include <stdarg.h>

static const char *const state_names[] = {
    [WATCHING_IDLE] = "idle",     [WATCHING_SYNCING] = "syncing", [WATCHING_WATCHING] = "watching",
    [WATCHING_BROKEN] = "broken", [WATCHING_ASKING] = "asking",   [WATCHING_STOPPED] = "stopped",
    [WATCHING_FAILED] = "failed",
};

/* The transitions of the diagram in watching.h. */
#define TO(state) (1u << WATCHING_##state)
static const unsigned moves[] = {
    [WATCHING_IDLE] = TO(SYNCING) | TO(STOPPED),
    [WATCHING_SYNCING] = TO(SYNCING) | TO(WATCHING) | TO(STOPPED) | TO(FAILED),
    [WATCHING_WATCHING] = TO(BROKEN) | TO(ASKING) | TO(SYNCING) | TO(STOPPED) | TO(FAILED),
    [WATCHING_BROKEN] = TO(WATCHING) | TO(SYNCING) | TO(STOPPED) | TO(FAILED),
    [WATCHING_ASKING] = TO(BROKEN) | TO(SYNCING) | TO(STOPPED) | TO(FAILED),
    [WATCHING_STOPPED] = 0,
    [WATCHING_FAILED] = 0,
};

static bool is_over(const watching *w) {
    return w->state == WATCHING_STOPPED || w->state == WATCHING_FAILED;
}

/* What must hold after each step. Otherwise the core could send a revision twice, or skip one. */
static void check_invariant(const watching *w) {
    CHECK(!w->range_out || w->state == WATCHING_SYNCING || w->state == WATCHING_ASKING || is_over(w) || w->ahead ||
          w->range_asks);
    CHECK(w->kept.len == 0 || w->kept_sent || (w->ahead && w->stream.created));
    CHECK(!w->closing || w->stream_out);
    CHECK(!w->stream_out || w->closing || w->state == WATCHING_WATCHING);
    CHECK(w->state != WATCHING_WATCHING || w->stream_out);
    CHECK(!w->stream.created || (w->state == WATCHING_WATCHING && !w->closing));
    CHECK(!w->stream.created || w->connected || !w->stream.confirmed || w->ahead);
    CHECK(w->pinned > 0 || w->next.len == 0);
    CHECK(w->bound.len == 0 || w->next.len > 0);
    CHECK(w->stream.seen <= w->highest);
    CHECK(!w->ended || (is_over(w) && !w->range_out && !w->stream_out));
}

/* ---- effects ---- */

watching_effect *watching_emit(watching_effects *out, watching_effect_type type) {
    CHECK(out->count < WATCHING_EFFECTS_MAX);
    watching_effect *effect = &out->list[out->count++];
    *effect = (watching_effect){.type = type};
    return effect;
}

void watching_say(watching *w, watching_effects *out, ew_log_level level, const char *format, ...) {
    char *text = w->texts[out->count];
    watching_effect *effect = watching_emit(out, WATCHING_DO_LOG);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof w->texts[0], format, arguments);
    va_end(arguments);
    effect->status = level;
    effect->detail = text;
    effect->epoch = w->epoch;
    effect->revision = w->stream.seen;
}

void watching_move(watching *w, watching_effects *out, watching_state next) {
    CHECK(moves[w->state] & (1u << next));
    watching_say(w, out, EW_LOG_DEBUG, "%s -> %s", state_names[w->state], state_names[next]);
    w->state = next;
}

bool watching_pack(watching *w, watching_effects *out, const ProtobufCMessage *message, ew_slice *bytes) {
    w->request.len = 0;
    if (!buffer_reserve(&w->request, protobuf_c_message_get_packed_size(message))) {
        watching_fail(w, out, EW_ERR_NO_MEMORY, "packing a request");
        return false;
    }
    w->request.len = protobuf_c_message_pack(message, w->request.data);
    *bytes = buffer_bytes(&w->request);
    return true;
}

/* ---- responses ---- */

/* protobuf-c returns NULL both for a malformed message and when out of memory; the arena distinguishes them. */
void *watching_unpack(watching *w, watching_effects *out, arena *memory, const ProtobufCMessageDescriptor *type,
                      ew_slice bytes) {
    void *message = protobuf_c_message_unpack(type, &memory->allocator, bytes.len, bytes.data);
    if (memory->failed)
        watching_fail(w, out, EW_ERR_NO_MEMORY, "unpacking a response");
    else if (!message)
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "malformed response");
    return message;
}

bool watching_header_ok(watching *w, watching_effects *out, const Pb__ResponseHeader *header) {
    int status = watch_stream_check_header(&w->stream, header);
    if (status != EW_OK)
        watching_trouble(w, out, status, w->stream.detail);
    return status == EW_OK;
}

/* ---- time ---- */

int64_t watching_backoff_ms(watching *w, unsigned tries) {
    return backoff_ms(w->config.backoff_min_ms, w->config.backoff_max_ms, tries, &w->random);
}

int64_t watching_deadline_ms(const watching *w) {
    switch (w->state) {
    case WATCHING_SYNCING:
    case WATCHING_ASKING:
        return w->range_out || (w->ahead && w->stream_out) ? INT64_MAX : w->retry_at_ms;
    case WATCHING_BROKEN:
        return w->stream_out ? INT64_MAX : w->retry_at_ms;
    case WATCHING_WATCHING:
        return w->closing ? INT64_MAX : w->stream.silent_at_ms;
    default:
        return INT64_MAX;
    }
}

/* ---- errors ---- */

void watching_settle(watching *w) {
    w->failures = w->resyncs = w->bad_answers = w->falls = w->denials = w->refusals = 0;
    watching_reset_pages(w);
}

static void leave(watching *w, watching_effects *out, watching_state over, int status, const char *detail) {
    w->end_status = status;
    snprintf(w->end_detail, sizeof w->end_detail, "%s", detail ? detail : "");
    watching_drop(w, out);
    if (w->range_out)
        watching_emit(out, WATCHING_DO_CANCEL_RANGE);
    watching_move(w, out, over);
}

void watching_fail(watching *w, watching_effects *out, int status, const char *detail) {
    watching_say(w, out, w->config.check_revision > 0 ? EW_LOG_INFO : EW_LOG_ERROR, "%s: %s", ew_strerror(status),
                 detail ? detail : "");
    leave(w, out, WATCHING_FAILED, status, detail);
}

void watching_finish(watching *w, watching_effects *out) {
    leave(w, out, WATCHING_STOPPED, EW_OK, NULL);
}

void watching_resync(watching *w, watching_effects *out, const char *why) {
    watching_say(w, out, EW_LOG_WARN, "loading the prefix again: %s", why);
    watching_drop(w, out);
    w->epoch++;
    watch_stream_seek(&w->stream, w->stream.seen);
    watching_start_pages(w);
    /* Retries the first time at once, later with backoff. */
    w->retry_at_ms =
        w->resyncs == 0 ? w->now_ms : watch_stream_after(w->now_ms, watching_backoff_ms(w, w->resyncs - 1));
    w->resyncs++;
    watching_move(w, out, WATCHING_SYNCING);
}

static void retry(watching *w, watching_effects *out, int status, const char *detail) {
    if (w->state == WATCHING_WATCHING)
        watching_drop(w, out);
    ew_log_level level = w->failures == 0 ? EW_LOG_WARN : EW_LOG_DEBUG; /* the worker logs how long it lasts */
    /* etcd has answered a read with a revision below what was seen: it is asked again soon, however long it was
     * unavailable before. */
    bool fell = status == EW_ERR_REVISION_FELL;
    int64_t wait_ms = watching_backoff_ms(w, fell ? 0 : w->failures);
    w->failures += !fell;
    watching_say(w, out, level, "%s, retrying in %lld ms: %s: %s",
                 w->state == WATCHING_SYNCING  ? "cannot load the prefix"
                 : w->state == WATCHING_ASKING ? "cannot read the revision"
                                               : "the watch broke",
                 (long long)wait_ms, ew_strerror(status), detail ? detail : "");
    if (w->state != WATCHING_SYNCING || w->pinned > 0)
        w->fresh = false;
    w->retry_at_ms = watch_stream_after(w->now_ms, wait_ms);
    if (w->state == WATCHING_WATCHING)
        watching_move(w, out, WATCHING_BROKEN);
}

void watching_trouble(watching *w, watching_effects *out, int status, const char *detail) {
    unsigned most = UINT32_MAX, *count = &w->failures;
    switch (status) {
    case EW_ERR_COMPACTED:
    case EW_ERR_FUTURE_REVISION: /* the new snapshot shows whether the revision fell */
        if (w->config.check_revision > 0)
            watching_fail(w, out, status, detail); /* no other revision is possible */
        else if (status == EW_ERR_COMPACTED)
            watching_compacted(w, out, ew_strerror(status));
        else
            watching_resync(w, out, ew_strerror(status));
        return;
    case EW_ERR_TOO_LARGE:
        if (w->ahead)
            watching_not_ahead(w, out, "the prefix does not fit in one response (max_receive_bytes)");
        else if (w->state == WATCHING_WATCHING)
            watching_resync(w, out, "a response of the watch was too large"); /* it would be again */
        else if (!watching_shrink_page(w, out))
            watching_fail(w, out, status, "the response for a single key exceeds max_receive_bytes");
        return;
    case EW_ERR_INVALID:
    case EW_ERR_NO_MEMORY:
    case EW_ERR_DENIED:
    case EW_ERR_UNSUPPORTED:
    case EW_ERR_WRONG_CLUSTER:
        watching_fail(w, out, status, detail);
        return;
    case EW_ERR_UNAUTHENTICATED: /* tokens expire: the client gets a new one, so the next attempt may succeed */
        most = WATCHING_DENIALS_MAX;
        count = &w->denials;
        break;
    case EW_ERR_BAD_ANSWER:
        most = WATCHING_BAD_ANSWERS_MAX;
        count = &w->bad_answers;
        break;
    case EW_ERR_REVISION_FELL: /* one member may be stale (ETCD P7), but not all of them */
        if (w->falls++ < WATCHING_FALLS_MAX)
            break;
        w->falls = 0;
        w->highest = 0;
        watch_stream_seek(&w->stream, 0);
        watching_find_rewritten(w, out, detail);
        w->retry_at_ms = w->now_ms; /* the wait is over */
        return;
    }
    if (count != &w->failures && (*count)++ == most)
        watching_fail(w, out, status, detail);
    else
        retry(w, out, status, detail); /* SEMANTICS 14: reconnects never end the run */
}

/* ---- steps ---- */

static void take_page_failed(watching *w, const watching_event *event, watching_effects *out) {
    if (!w->range_out)
        return;
    bool late = w->range_asks && w->state != WATCHING_ASKING;
    w->range_out = w->range_asks = false;
    if (!late && !is_over(w) && event->status == EW_ERR_TIMEOUT && watching_page_is_late(w, out))
        return;
    if (!late && !is_over(w))
        watching_trouble(w, out, event->status, event->detail);
}

static void take_stream_ended(watching *w, const watching_event *event, watching_effects *out) {
    if (!w->stream_out)
        return;
    bool expected = w->closing;
    w->stream_out = w->closing = false;
    if (!expected)
        watching_trouble(w, out, event->status, event->detail);
}

/* Starts what the state needs and is not running yet. */
static void pursue(watching *w, watching_effects *out) {
    bool due = w->now_ms >= w->retry_at_ms;
    bool loads = w->state == WATCHING_SYNCING && !w->range_out && due;
    if (loads && w->ahead && !w->stream_out)
        watching_open(w, out); /* the previous stream has ended */
    else if ((loads && !w->ahead) || (w->ahead && w->stream.created && !w->range_out))
        watching_send_range(w, out);
    else if (w->state == WATCHING_ASKING && !w->range_out && due)
        watching_ask(w, out);
    else if (w->state == WATCHING_WATCHING && !w->stream_out)
        watching_open(w, out); /* now, if the stream of the previous epoch ended late */
    else if (w->state == WATCHING_BROKEN && !w->stream_out && due)
        watching_open(w, out);
    if (is_over(w) && !w->range_out && !w->stream_out && !w->ended) {
        w->ended = true;
        watching_effect *effect = watching_emit(out, WATCHING_DO_END);
        effect->status = w->end_status;
        effect->detail = w->end_detail;
    }
}

static void take_resync(watching *w, const watching_event *event, watching_effects *out) {
    bool loads = w->state == WATCHING_SYNCING && w->config.check_revision == 0;
    if (loads && event->revision > w->highest)
        w->range_asks = w->range_out; /* the response on its way may be older: it is ignored */
    else if (w->ahead && event->revision <= w->highest)
        return; /* it is being loaded */
    else if (w->state != WATCHING_WATCHING && w->state != WATCHING_BROKEN && w->state != WATCHING_ASKING)
        return;
    if (w->highest < event->revision)
        w->highest = event->revision;
    if (event->rewritten)
        watching_find_rewritten(w, out, "detected by the reactor");
    else
        watching_resync(w, out, "requested by the reactor");
}

static void handle(watching *w, const watching_event *event, watching_effects *out) {
    switch (event->type) {
    case WATCHING_START:
        if (w->state != WATCHING_IDLE)
            break;
        w->epoch = 1;
        w->retry_at_ms = w->now_ms;
        watching_start_pages(w);
        watching_move(w, out, WATCHING_SYNCING);
        break;
    case WATCHING_PAGE:
        watching_take_page(w, event, out);
        break;
    case WATCHING_PAGE_FAILED:
        take_page_failed(w, event, out);
        break;
    case WATCHING_RESPONSE:
        watching_take_response(w, event, out);
        break;
    case WATCHING_STREAM_ENDED:
        take_stream_ended(w, event, out);
        break;
    case WATCHING_TIMER:
        watching_check_silence(w, out);
        break;
    case WATCHING_READ_ON:
        watch_stream_listen(&w->stream, w->now_ms);
        break;
    case WATCHING_RESYNC:
        take_resync(w, event, out);
        break;
    case WATCHING_STOP:
        if (!is_over(w))
            leave(w, out, WATCHING_STOPPED, EW_OK, NULL);
        break;
    }
}

void watching_step(watching *w, const watching_event *event, watching_effects *out) {
    out->count = 0;
    w->now_ms = event->now_ms;
    watch_stream_take_back(&w->stream);
    if (w->kept_sent)
        watching_drop_kept(w);
    handle(w, event, out);
    pursue(w, out);
    check_invariant(w);
}

/* ---- the public functions ---- */

watching *watching_new(const watching_config *config) {
    watching *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->config = *config;
    w->random = config->seed;
    pb__watch_create_request__init(&w->stream.create);
    w->stream.create.key = slice_bytes(config->key);
    w->stream.create.range_end = slice_bytes(config->range_end);
    w->stream.create.progress_notify = true;
    w->stream.joined_max = config->page_bytes * WATCHING_JOINED_PAGES;
    w->stream.silence_ms = config->silence_ms;
    w->limit = WATCHING_LIMIT_FIRST;
    watching_reset_pages(w);
    return w;
}

void watching_free(watching *w) {
    if (!w)
        return;
    buffer_fini(&w->next);
    buffer_fini(&w->bound);
    watch_stream_fini(&w->stream);
    buffer_fini(&w->kept);
    buffer_fini(&w->request);
    free(w);
}

watching_state watching_get_state(const watching *w) {
    return w->state;
}

uint64_t watching_reconnects(const watching *w) {
    return w->opens > 0 ? w->opens - 1 : 0;
}
