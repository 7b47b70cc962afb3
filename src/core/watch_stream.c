#include "core/watch_stream.h"

#include "core/arena.h"
#include "core/bug.h"
#include "core/check.h"
#include "core/error_text.h"
#include "core/watch_events.h"

#include <stdarg.h>
#include <stdio.h>

/* A stream may be silent for at most silence_ms times 2 to the power of this. */
#define RENEWALS_MAX 4

/* If this many streams were silent before the events seen before came again, these events count as missing. */
#define SILENT_MAX 2

static watch_stream_news tell(watch_stream *s, watch_stream_kind kind, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static watch_stream_news tell(watch_stream *s, watch_stream_kind kind, int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->detail, sizeof s->detail, format, arguments);
    va_end(arguments);
    return (watch_stream_news){.kind = kind, .status = status, .detail = s->detail};
}

static watch_stream_news invalid(watch_stream *s, const char *why) {
    return tell(s, WATCH_STREAM_INVALID, EW_ERR_BAD_ANSWER, "%s", why);
}

/* ---- requests and silence ---- */

int64_t watch_stream_after(int64_t now_ms, int64_t ms) {
    return now_ms > 0 && ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + ms;
}

/* A stream is also silent while a large message arrives on a slow connection, and must have time to receive it. So each
 * stream that was replaced because it was silent doubles the time for the next one. */
static void expect_sign(watch_stream *s, int64_t now_ms) {
    s->silent_at_ms = watch_stream_after(now_ms, s->silence_ms << s->renewals);
}

void watch_stream_listen(watch_stream *s, int64_t now_ms) {
    if (s->created)
        expect_sign(s, now_ms);
    else
        s->silent_at_ms = watch_stream_after(now_ms, s->patience_ms);
}

void watch_stream_open(watch_stream *s, Pb__WatchRequest *request, int64_t from, int64_t now_ms, int64_t patience_ms) {
    watch_stream_drop(s);
    s->confirmed = s->last == 0 || EW_BUG(resume_late);
    s->create.start_revision = EW_BUG(watch_from_now) ? 0 : s->confirmed ? from : s->last;
    s->create.fragment = true; /* ETCD P3: without it, a message of 10.8 MB was seen */
    s->patience_ms = patience_ms;
    watch_stream_listen(s, now_ms);
    pb__watch_request__init(request);
    request->request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request->create_request = &s->create;
}

void watch_stream_probe(watch_stream *s, Pb__WatchRequest *request, int64_t now_ms) {
    static Pb__WatchProgressRequest progress = PB__WATCH_PROGRESS_REQUEST__INIT;
    watch_stream_listen(s, now_ms);
    s->asked = true;
    pb__watch_request__init(request);
    request->request_union_case = PB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request->progress_request = &progress;
}

void watch_stream_take_back(watch_stream *s) {
    if (!s->lent)
        return;
    s->lent = false;
    buffer_fini(&s->joined); /* frees the memory, because one huge revision may have made it large */
}

void watch_stream_fini(watch_stream *s) {
    buffer_fini(&s->joined);
}

/* If a stream is silent, the server may have lost it (ETCD P9): probe it, wait for the same time again, then replace
 * it. */
watch_stream_silence watch_stream_check_silence(const watch_stream *s, int64_t now_ms) {
    if (now_ms < s->silent_at_ms)
        return WATCH_STREAM_ALIVE;
    if (!s->created)
        return WATCH_STREAM_UNCREATED;
    if (!s->asked)
        return WATCH_STREAM_UNASKED;
    return !s->confirmed && s->renewals >= SILENT_MAX ? WATCH_STREAM_MISSING : WATCH_STREAM_SILENT;
}

void watch_stream_renew(watch_stream *s) {
    if (s->renewals < RENEWALS_MAX)
        s->renewals++;
}

/* ---- the history ---- */

void watch_stream_seek(watch_stream *s, int64_t revision) {
    s->seen = revision;
    s->last = 0;
}

void watch_stream_accept(watch_stream *s, const watch_stream_news *news) {
    watch_event e;
    watch_events events = watch_events_of(news->newest);
    s->seen = news->revision;
    s->renewals = 0;
    if (news->kind == WATCH_STREAM_PROGRESS)
        return;
    s->last = news->revision;
    s->last_digest = 0;
    s->last_proves = false;
    while (watch_events_next(&events, &e)) {
        if (e.mod_revision != s->last)
            continue;
        s->last_digest += watch_events_digest(&e);
        s->last_proves |= e.type == PB__EVENT__EVENT_TYPE__PUT;
    }
}

watch_stream_news watch_stream_miss(watch_stream *s) {
    return tell(s, WATCH_STREAM_REWRITTEN, EW_ERR_REVISION_FELL,
                "etcd did not send revision %lld, the last one seen below the prefix, again", (long long)s->last);
}

/* Checks the first events of a stream that is not confirmed. Returns EVENTS when the events seen before have come
 * again, NOTHING while they may still come, REWRITTEN if they have not come. */
static watch_stream_news confirm(watch_stream *s, ew_slice bytes) {
    watch_event e;
    watch_events events = watch_events_of(bytes);
    uint64_t digest = 0;
    bool newer = false, same = true;
    while (watch_events_next(&events, &e)) {
        if (e.mod_revision == s->last)
            digest += watch_events_digest(&e);
        else if (e.mod_revision > s->last && e.mod_revision <= s->seen)
            same = false;
        newer |= e.mod_revision > s->seen;
    }
    if (!same || (digest != 0 && digest != s->last_digest))
        return tell(s, WATCH_STREAM_REWRITTEN, EW_ERR_REVISION_FELL,
                    "etcd did not send revisions %lld to %lld again as they were seen before", (long long)s->last,
                    (long long)s->seen);
    if (digest == 0) /* older events may be a replay (ETCD P5) */
        return newer ? watch_stream_miss(s) : (watch_stream_news){.kind = WATCH_STREAM_NOTHING};
    s->confirmed = true;
    return (watch_stream_news){.kind = WATCH_STREAM_EVENTS, .confirmed = true};
}

/* ---- events ---- */

void watch_stream_drop(watch_stream *s) {
    watch_events_summary e;
    if (EW_BUG(resume_in_revision) && s->joined.len > 0 &&
        watch_events_summarise(&s->create, buffer_bytes(&s->joined), &e))
        s->seen = e.highest > s->seen ? e.highest : s->seen;
    s->created = s->asked = false;
    s->joined.len = 0; /* drops fragments of a revision that this stream will not complete (ETCD P3) */
}

/* Takes a whole response with events; if `full`, as many fragments of one as may be joined. */
static watch_stream_news take_whole(watch_stream *s, ew_slice bytes, const watch_events_summary *e, bool full) {
    watch_stream_news n = {.kind = WATCH_STREAM_EVENTS};
    if (!s->confirmed)
        n = confirm(s, bytes);
    if (n.kind != WATCH_STREAM_EVENTS)
        return n;
    n.kind = full ? WATCH_STREAM_FULL : WATCH_STREAM_EVENTS;
    n.revision = full ? e->before : e->highest;
    n.newest = full ? e->newest_before : e->newest;
    n.count = e->count;
    n.lowest = e->lowest;
    n.highest = e->highest;
    n.bytes = bytes;
    return n;
}

watch_stream_news watch_stream_read(watch_stream *s, ew_slice bytes) {
    watch_events_summary e;
    if (!watch_events_summarise(&s->create, bytes, &e) || e.highest < 0)
        return invalid(s, "watch events whose revisions are out of order");
    return take_whole(s, bytes, &e, false);
}

/* Joins a fragment to those before it. ETCD P3: a response may be split inside a revision; it is complete when
 * fragment == false. */
static watch_stream_news take_piece(watch_stream *s, const Pb__WatchResponse *r, ew_slice bytes) {
    static const uint8_t whole[] = {0x38,
                                    0x00}; /* fragment = false, encoded explicitly: absence would not override true */
    watch_events_summary e;
    if (!buffer_append(&s->joined, bytes) ||
        (!r->fragment && !buffer_append(&s->joined, (ew_slice){whole, sizeof whole})))
        return tell(s, WATCH_STREAM_INVALID, EW_ERR_NO_MEMORY, "joining fragments");
    bool full = r->fragment && (int64_t)s->joined.len > s->joined_max;
    if (r->fragment && !full && !EW_BUG(fragment_is_whole))
        return (watch_stream_news){0};
    s->lent = true;
    if (!watch_events_summarise(&s->create, buffer_bytes(&s->joined), &e) || e.highest < 0)
        return invalid(s, "fragments whose revisions are out of order");
    if (e.count > 0)
        return take_whole(s, buffer_bytes(&s->joined), &e, full);
    return full ? invalid(s, "fragments without events are too large") : (watch_stream_news){0};
}

/* ETCD P2, SEMANTICS 12: the watch's own notification comes after the events that it covers. */
static watch_stream_news take_progress(watch_stream *s, int64_t revision) {
    if (!s->confirmed)
        return watch_stream_miss(s);
    if (revision < s->seen) /* only 0 is possible here: `take` has found a member that is behind */
        return invalid(s, "progress notification without a revision");
    if (revision == s->seen)
        return (watch_stream_news){0};
    return (watch_stream_news){.kind = WATCH_STREAM_PROGRESS, .revision = revision};
}

static watch_stream_news take_own(watch_stream *s, const Pb__WatchResponse *r, const watch_events_summary *e,
                                  ew_slice bytes) {
    watch_events_summary known = *e;
    if (EW_BUG(header_revision) && e->count > 0)
        known.highest = r->header->revision;
    if (e->highest < 0)
        return invalid(s, "event with an invalid type, key or revision");
    if (e->highest > r->header->revision)
        return invalid(s, "event with a revision above its response's");
    if (r->fragment || s->joined.len > 0 || (s->copies && e->count > 0))
        return take_piece(s, r, bytes);
    if (e->count > 0)
        return take_whole(s, bytes, &known, false);
    if (r->created)
        return (watch_stream_news){0};
    return take_progress(s, r->header->revision);
}

/* ---- responses ---- */

/* Returns whether the response is of our watch, which is the only one on the stream. */
static bool is_own(const watch_stream *s, const Pb__WatchResponse *r) {
    return s->created ? r->watch_id == s->watch_id : r->created && r->watch_id >= 0;
}

static watch_stream_news explain_cancel(watch_stream *s, const Pb__WatchResponse *r) {
    if (r->compact_revision < 0)
        return invalid(s, "response with an invalid revision");
    if (!s->confirmed && r->compact_revision > 0 && r->compact_revision <= s->seen) {
        /* Only events that were seen have been compacted: none is lost, but they cannot confirm the history. */
        watch_stream_news n = tell(s, WATCH_STREAM_UNPROVED, EW_ERR_UNAVAILABLE,
                                   "revision %lld has been compacted and cannot be sent again", (long long)s->last);
        s->last = 0;
        return n;
    }
    /* ETCD P10: a refused watch has no gRPC status, only a text. */
    const char *reason = r->cancel_reason[0] != '\0' ? r->cancel_reason : "etcd canceled the watch";
    int status = error_text_status(reason);
    if (status == EW_OK || status == EW_ERR_COMPACTED)
        status = r->created && status == EW_OK ? EW_ERR_INVALID : EW_ERR_UNAVAILABLE;
    if (r->compact_revision > 0) { /* ETCD P4: only this field shows a compaction. The header's revision is 0 then,
                                      which does not mean that the revision fell */
        status = EW_ERR_COMPACTED;
        reason = "the watch's revision has been compacted";
    }
    watch_stream_news n = tell(s, WATCH_STREAM_CANCELED, status, "%s", reason);
    n.revision = r->compact_revision;
    return n;
}

/* Takes the reply to a progress request, which belongs to no watch. */
static watch_stream_news take_notice(watch_stream *s, bool was_asked) {
    if (s->joined.len > 0)
        return invalid(s, "response between the fragments of another one");
    /* ETCD P2: a requested progress reply may have overtaken events, so it only shows that the stream is alive. But the
     * events that must come again have had enough time. */
    return was_asked && s->created && !s->confirmed ? watch_stream_miss(s) : (watch_stream_news){0};
}

static watch_stream_news take(watch_stream *s, const Pb__WatchResponse *r, const watch_events_summary *e,
                              ew_slice bytes, int64_t now_ms) {
    bool own = is_own(s, r), was_asked = s->asked, first = !s->created;
    if (!r->created && !r->canceled && !r->fragment && s->confirmed)
        s->renewals = 0;
    s->asked = false;
    expect_sign(s, now_ms);
    if (r->canceled && (own || first || r->watch_id < 0))
        return explain_cancel(s, r);
    if (!own && (r->watch_id != -1 || e->count > 0 || r->created))
        return invalid(s, "response of another watch");
    if (r->header->revision > 0 && r->header->revision < s->seen)
        return (watch_stream_news){.kind = WATCH_STREAM_DOUBTED, .revision = r->header->revision};
    if (!own && !EW_BUG(progress_overtakes))
        return take_notice(s, was_asked);
    if (r->created && !first)
        return invalid(s, "the watch was created twice");
    if (first) {
        s->created = true;
        s->watch_id = r->watch_id;
    }
    watch_stream_news n = take_own(s, r, e, bytes);
    n.created = first;
    return n;
}

int watch_stream_check_header(watch_stream *s, const Pb__ResponseHeader *header) {
    if (!header || header->cluster_id == 0)
        return invalid(s, "response without a cluster id").status;
    if (header->revision < 0 || header->revision == INT64_MAX) /* revision + 1 must not overflow */
        return invalid(s, "response with an invalid revision").status;
    if (s->cluster_id == 0)
        s->cluster_id = header->cluster_id;
    if (s->cluster_id == header->cluster_id)
        return EW_OK;
    return tell(s, WATCH_STREAM_INVALID, EW_ERR_WRONG_CLUSTER, "cluster %llx answered instead of %llx",
                (unsigned long long)header->cluster_id, (unsigned long long)s->cluster_id)
        .status;
}

/* Unpacks all of the response except its events. Returns NULL if it is malformed or memory ran out; then
 * `memory->failed` is set. */
static const Pb__WatchResponse *unpack_rest(ew_slice bytes, size_t len, arena *memory) {
    uint8_t *rest = memory->allocator.alloc(memory, len + 1);
    if (!rest)
        return NULL;
    watch_events_rest(bytes, rest);
    return pb__watch_response__unpack(&memory->allocator, len, rest);
}

watch_stream_news watch_stream_take(watch_stream *s, ew_slice bytes, int64_t now_ms) {
    watch_events_summary e;
    watch_stream_news n;
    int status;
    watch_stream_take_back(s);
    if (!watch_events_summarise(&s->create, bytes, &e))
        return invalid(s, "malformed response");
    arena memory;
    arena_init(&memory);
    const Pb__WatchResponse *r = unpack_rest(bytes, e.rest, &memory);
    if (!r)
        n = memory.failed ? tell(s, WATCH_STREAM_INVALID, EW_ERR_NO_MEMORY, "unpacking a response")
                          : invalid(s, "malformed response");
    else if ((status = watch_stream_check_header(s, r->header)) != EW_OK)
        n = (watch_stream_news){.kind = WATCH_STREAM_INVALID, .status = status, .detail = s->detail};
    else
        n = take(s, r, &e, bytes, now_ms);
    n.header_revision = r && r->header ? r->header->revision : 0;
    arena_fini(&memory);
    CHECK(s->last <= s->seen);
    CHECK(s->joined.len == 0 || s->lent || s->created);
    return n;
}
