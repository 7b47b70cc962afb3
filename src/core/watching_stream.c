/* The watch: one watch per stream, from the newest whole revision on (ETCD P1 to P6, P10). */
#include "core/watching_internal.h"

#include "core/bug.h"
#include "core/slice.h"
#include "core/watch_events.h"

#include <stdlib.h>

/* ---- the stream's life ---- */

watching_effect *watching_send_health(watching *w, watching_effects *out, bool connected) {
    watching_effect *effect = watching_emit(out, WATCHING_DO_SEND_HEALTH);
    effect->epoch = w->epoch;
    effect->connected = w->connected = connected;
    effect->interruptions = w->interrupted;
    return effect;
}

/* Time to make a connection and a token first. */
static void expect_confirmation(watching *w) {
    w->silence_at_ms = watching_after(w->now_ms, w->config.silence_ms * (w->connected ? 1 : 2));
}

void watching_open(watching *w, watching_effects *out) {
    Pb__WatchCreateRequest create = PB__WATCH_CREATE_REQUEST__INIT;
    create.key = slice_bytes(w->config.key);
    create.range_end = slice_bytes(w->config.range_end);
    w->confirmed = w->last == 0 || EW_BUG(resume_late);
    create.start_revision = EW_BUG(watch_from_now) || w->ahead ? 0 : w->confirmed ? w->seen + 1 : w->last;
    create.progress_notify = true;
    create.fragment = true;
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    request.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    ew_slice bytes;
    if (!watching_pack(w, out, &request.base, &bytes))
        return;
    watching_emit(out, WATCHING_DO_OPEN)->bytes = bytes;
    w->stream_out = true;
    w->opens++;
    expect_confirmation(w);
    if (w->state != WATCHING_WATCHING)
        watching_move(w, out, WATCHING_WATCHING);
}

static void drop_stream(watching *w, watching_effects *out) {
    /* A watch that lasted this long was good: its end is not counted with earlier errors. */
    if (w->created && w->now_ms >= watching_after(w->created_at_ms, w->config.backoff_max_ms))
        w->failures = w->resyncs = 0;
    w->created = w->asked = w->fresh = false;
    if (EW_BUG(resume_in_revision) && w->joined_len > 0)
        w->seen = w->highest = w->joined_revision;
    w->joined_len = 0; /* fragments of a revision that this stream will not complete (ETCD P3) */
    if (w->ahead) {
        w->range_asks = w->range_out; /* a snapshot without its watch */
        watching_drop_kept(w);
    }
    if (w->stream_out && !w->closing) {
        watching_emit(out, WATCHING_DO_CLOSE);
        w->closing = true;
    }
}

void watching_drop(watching *w, watching_effects *out) {
    if (w->connected)
        watching_send_health(w, out, false);
    drop_stream(w, out);
}

/* A large message on a slow link is silent too, and never arrives on a stream that has less time than it takes. So each
 * stream that was replaced doubles the time of the next one. */
static void expect_sign(watching *w) {
    w->silence_at_ms = watching_after(w->now_ms, w->config.silence_ms << w->renewals);
}

/* Some releases of etcd never answer a progress request on a quiet watch (ETCD P2), so silence alone does not mean that
 * the connection is lost. It is lost if the next stream is not confirmed either. */
static void renew(watching *w, watching_effects *out) {
    watching_say(w, out, EW_LOG_INFO, "the watch is silent, opening it again");
    drop_stream(w, out);
    if (w->renewals < WATCHING_RENEWALS_MAX)
        w->renewals++;
    w->retry_at_ms = w->now_ms;
    watching_move(w, out, WATCHING_BROKEN);
}

/* A stream on which nothing comes may have lost its other end (ETCD P9): probe it, wait as long again, then replace
 * it. */
void watching_check_silence(watching *w, watching_effects *out) {
    if (w->state != WATCHING_WATCHING || w->closing || w->now_ms < w->silence_at_ms)
        return;
    if (!w->created) {
        watching_trouble(w, out, EW_ERR_UNAVAILABLE, "etcd does not confirm the watch");
        return;
    }
    if (w->asked) {
        if (!w->confirmed && w->renewals >= WATCHING_SILENT_MAX)
            watching_miss_last(w, out);
        else
            renew(w, out);
        return;
    }
    Pb__WatchProgressRequest progress = PB__WATCH_PROGRESS_REQUEST__INIT;
    Pb__WatchRequest request = PB__WATCH_REQUEST__INIT;
    request.request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    ew_slice bytes;
    if (watching_pack(w, out, &request.base, &bytes))
        watching_emit(out, WATCHING_DO_REQUEST)->bytes = bytes;
    w->asked = true;
    expect_sign(w);
}

void watching_read_on(watching *w) {
    if (w->created)
        expect_sign(w);
    else
        expect_confirmation(w);
}

/* ---- created and cancelled ---- */

static bool says(const char *reason, const char *words) {
    return strstr(reason, words) != NULL;
}

/* ETCD P10: a refused watch has no gRPC status, only a text. etcd 3.4 also returns "permission denied" for an expired
 * token. So a refusal is believed only after a few attempts, each with a new snapshot: its range call makes the client
 * authenticate again, and shows whether the permission is really missing. */
static void take_cancel(watching *w, const Pb__WatchResponse *r, watching_effects *out) {
    if (!w->confirmed && r->compact_revision > 0 && r->compact_revision <= w->seen) {
        /* Only what was seen has been compacted: nothing is lost, but the events do not confirm the history. */
        watching_say(w, out, EW_LOG_INFO, "revision %lld has been compacted and cannot be sent again",
                     (long long)w->last);
        w->last = 0;
        watching_drop(w, out);
        w->retry_at_ms = w->now_ms;
        watching_move(w, out, WATCHING_BROKEN);
        return;
    }
    if (r->compact_revision > 0) { /* ETCD P4, SEMANTICS 13 */
        watching_compacted(w, out, "the watch's revision has been compacted");
        return;
    }
    bool denied = says(r->cancel_reason, "permission denied");
    if (!denied && !says(r->cancel_reason, "auth") && !says(r->cancel_reason, "user name")) {
        watching_trouble(w, out, EW_ERR_UNAVAILABLE, r->cancel_reason);
        return;
    }
    if (w->refusals++ == WATCHING_DENIALS_MAX)
        watching_fail(w, out, denied ? EW_ERR_DENIED : EW_ERR_UNAUTHENTICATED, r->cancel_reason);
    else
        watching_resync(w, out, r->cancel_reason);
}

void watching_tell_connected(watching *w, watching_effects *out, bool unsure) {
    watching_finish_snapshot(w, out); /* first, because a snapshot replaces a consistency check */
    if (!w->connected || unsure)
        watching_send_health(w, out, true)->unsure = unsure;
}

static void take_created(watching *w, const Pb__WatchResponse *r, watching_effects *out) {
    w->created = true;
    w->created_at_ms = w->now_ms;
    w->watch_id = r->watch_id;
    w->denials = w->refusals = 0;
    w->ahead_from = r->header->revision;
    if (w->ahead)
        return; /* until the snapshot is complete */
    bool late = w->now_ms >= watching_after(w->loaded_at_ms, w->config.backoff_max_ms);
    if (w->confirmed)
        watching_tell_connected(w, out, w->last == 0 && (late || !w->fresh) && !EW_BUG(resume_late));
}

/* ---- events ---- */

/* A summary of a response's events. */
typedef struct events_seen {
    size_t count;
    int64_t highest; /* the highest mod_revision, the only revision that counts (ETCD P1); -1 if the events are
                        invalid */
    int64_t lowest;
    ew_slice newest; /* from the first event at `highest` on */
    size_t rest;     /* bytes of the response that are not events */
} events_seen;

static bool is_possible(const watching *w, const watch_event *e) {
    const bool known = e->type == PB__EVENT__EVENT_TYPE__PUT || e->type == PB__EVENT__EVENT_TYPE__DELETE;
    return known && e->has_kv && e->mod_revision > 0 && watching_revision_ok(e->mod_revision) &&
           slice_compare(e->key, w->config.key) >= 0 && !watching_is_behind_range(w, e->key);
}

/* Returns false if it is not a WatchResponse. */
static bool look_at_events(const watching *w, ew_slice bytes, events_seen *out) {
    watch_event e;
    watch_events s = watch_events_of(bytes);
    const uint8_t *from = s.at;
    for (*out = (events_seen){0}; watch_events_next(&s, &e); out->count++, from = s.at) {
        if (out->count == 0)
            out->lowest = e.mod_revision;
        if (!is_possible(w, &e) || out->highest < 0 || e.mod_revision < out->highest) {
            out->highest = -1; /* etcd orders events by revision */
        } else if (e.mod_revision > out->highest) {
            out->highest = e.mod_revision;
            out->newest = (ew_slice){from, (size_t)(s.end - from)};
        }
    }
    out->rest = s.rest;
    return !s.malformed;
}

static void send_events(watching *w, ew_slice bytes, const events_seen *e, watching_effects *out) {
    if (e->highest <= w->seen)
        return; /* it only showed what had been seen */
    watching_effect *effect = watching_emit(out, WATCHING_DO_SEND_EVENTS);
    effect->epoch = w->epoch;
    effect->revision = w->seen = e->highest;
    effect->bytes = bytes;
    watching_keep_last(w, e->newest, e->highest);
    if (w->highest < w->seen)
        w->highest = w->seen;
    watching_settle(w);
}

void watching_send_kept(watching *w, ew_slice events, watching_effects *out) {
    events_seen e;
    if (!look_at_events(w, events, &e) || e.highest < 0)
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "watch events whose revisions are out of order");
    else
        send_events(w, events, &e, out);
}

/* Handles a whole response with events. What has been seen comes again at the beginning of a stream; later it is a
 * replay (ETCD P5), or a revision that was changed on its way: the next stream decides. */
static void take_whole(watching *w, ew_slice bytes, const events_seen *e, watching_effects *out) {
    bool sure = w->confirmed;
    if (w->ahead) {
        watching_keep(w, bytes, out);
        return;
    }
    if (!sure && !watching_confirm(w, bytes, out))
        return;
    if (!sure)
        watching_tell_connected(w, out, !w->last_proves);
    if (sure && e->lowest <= w->seen && !EW_BUG(replay_believed))
        watching_trouble(w, out, EW_ERR_UNAVAILABLE, "the watch repeats events");
    else
        send_events(w, bytes, e, out);
}

/* Appends a fragment to the previous ones. protobuf merges by concatenation: if a field occurs twice the last one
 * counts, and lists are joined. */
static bool join(watching *w, ew_slice piece) {
    if (w->joined_len + piece.len > w->joined_capacity) {
        size_t capacity = (w->joined_len + piece.len) * 2;
        uint8_t *larger = realloc(w->joined, capacity);
        if (!larger)
            return false;
        w->joined = larger;
        w->joined_capacity = capacity;
    }
    memcpy(w->joined + w->joined_len, piece.data, piece.len);
    w->joined_len += piece.len;
    return true;
}

void watching_forget_sent(watching *w) {
    if (w->kept_sent)
        watching_drop_kept(w);
    if (!w->joined_sent)
        return;
    w->joined_sent = false;
    w->joined_len = 0;
    if ((int64_t)w->joined_capacity > w->config.page_bytes) { /* one huge revision is no reason to keep this memory */
        free(w->joined);
        w->joined = NULL;
        w->joined_capacity = 0;
    }
}

/* ETCD P3: a response may be split inside a revision; it is whole only with fragment == false. */
static void take_piece(watching *w, const Pb__WatchResponse *r, ew_slice bytes, int64_t revision,
                       watching_effects *out) {
    events_seen e;
    static const uint8_t whole[] = {0x38,
                                    0x00}; /* fragment = false, encoded explicitly: absence would not override true */
    if (w->joined_len == 0)
        w->joined_revision = 0;
    if (w->joined_revision < revision)
        w->joined_revision = revision;
    if ((int64_t)(w->joined_len + bytes.len) > w->config.page_bytes * WATCHING_JOINED_PAGES) {
        watching_resync(w, out, "the fragments of a watch response are too large");
        return;
    }
    if (!join(w, bytes) || (!r->fragment && !join(w, (ew_slice){whole, sizeof whole}))) {
        watching_fail(w, out, EW_ERR_NO_MEMORY, "joining fragments");
        return;
    }
    if (r->fragment && !EW_BUG(fragment_is_whole))
        return;
    w->joined_sent = true; /* unchanged until the next step */
    const ew_slice joined = {w->joined, w->joined_len};
    if (!look_at_events(w, joined, &e) || e.highest < 0)
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "fragments whose revisions are out of order");
    else if (e.count > 0)
        take_whole(w, joined, &e, out);
}

/* ETCD P2, SEMANTICS 12: the watch's own notification comes after the events that it covers. */
static void take_progress(watching *w, int64_t revision, watching_effects *out) {
    if (!w->confirmed) {
        watching_miss_last(w, out);
        return;
    }
    if (revision < w->seen) { /* 0: a member that is behind was detected before */
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "progress notification without a revision");
        return;
    }
    if (revision == w->seen || w->ahead)
        return;
    w->seen = revision;
    if (w->highest < w->seen)
        w->highest = w->seen;
    watching_settle(w);
    watching_effect *effect = watching_emit(out, WATCHING_DO_SEND_PROGRESS);
    effect->epoch = w->epoch;
    effect->revision = w->seen;
}

/* A response of our own watch. */
static void take_own(watching *w, const Pb__WatchResponse *r, const events_seen *e, ew_slice bytes,
                     watching_effects *out) {
    events_seen seen = *e;
    if (EW_BUG(header_revision) && e->count > 0)
        seen.highest = r->header->revision;
    if (e->highest < 0)
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "event with an invalid type, key or revision");
    else if (e->highest > r->header->revision)
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "event with a revision above its response's");
    else if (r->fragment || w->joined_len > 0)
        take_piece(w, r, bytes, seen.highest, out);
    else if (e->count > 0)
        take_whole(w, bytes, &seen, out);
    else if (!r->created)
        take_progress(w, r->header->revision, out);
}

/* Returns whether the response is of our watch, which is the only one on the stream. */
static bool is_own(const watching *w, const Pb__WatchResponse *r) {
    return w->created ? r->watch_id == w->watch_id : r->created && r->watch_id >= 0;
}

static void take_watch_response(watching *w, const Pb__WatchResponse *r, const events_seen *e, ew_slice bytes,
                                watching_effects *out) {
    bool own = is_own(w, r), was_asked = w->asked;
    w->asked = false;
    if (!r->created && !r->canceled && !r->fragment && w->confirmed)
        w->renewals = 0;
    expect_sign(w);
    if (r->canceled && (own || !w->created)) {
        take_cancel(w, r, out);
    } else if (!own && (r->watch_id != -1 || e->count > 0)) {
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "response of another watch");
    } else if (r->header->revision > 0 && r->header->revision < w->seen) {
        watching_doubt(w, out, r->header->revision);
    } else if (own || EW_BUG(progress_overtakes)) {
        if (!w->created)
            take_created(w, r, out);
        if (w->state == WATCHING_WATCHING)
            take_own(w, r, e, bytes, out);
    } else if (w->joined_len > 0) {
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "response between the fragments of another one");
    } else if (was_asked && w->created && !w->confirmed) {
        /* ETCD P2: a requested progress reply may have overtaken events, so it is only a liveness probe. But the events
         * that must come again have had enough time. */
        watching_miss_last(w, out);
    }
}

/* Unpacks all of the response except its events. NULL if it is malformed or memory ran out, which has been handled. */
static const Pb__WatchResponse *unpack_rest(watching *w, ew_slice bytes, size_t len, arena *memory,
                                            watching_effects *out) {
    uint8_t *rest = memory->allocator.alloc(memory, len + 1);
    if (!rest) {
        watching_fail(w, out, EW_ERR_NO_MEMORY, "unpacking a response");
        return NULL;
    }
    watch_events_rest(bytes, rest);
    return watching_unpack(w, out, memory, &pb__watch_response__descriptor, (ew_slice){rest, len});
}

void watching_take_response(watching *w, const watching_event *event, watching_effects *out) {
    if (w->state != WATCHING_WATCHING || w->closing)
        return; /* from a stream that was cancelled */
    events_seen e;
    if (!look_at_events(w, event->bytes, &e)) {
        watching_trouble(w, out, EW_ERR_BAD_ANSWER, "malformed response");
        return;
    }
    arena memory;
    arena_init(&memory);
    const Pb__WatchResponse *r = unpack_rest(w, event->bytes, e.rest, &memory, out);
    if (r && watching_header_ok(w, out, r->header))
        take_watch_response(w, r, &e, event->bytes, out);
    arena_fini(&memory);
}
