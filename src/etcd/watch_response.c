#include "etcd/watch_response.h"
#include "etcd/result.h"

#include "core/event_digest.h"
#include "core/unpack.h"

#include <stdio.h>
#include <stdlib.h>

static watch_news end(watch_reader *r, watch_news news, int status, const char *detail) {
    r->status = status;
    snprintf(r->detail, sizeof r->detail, "watch: %s", detail);
    return news;
}

watch_news watch_reader_end(watch_reader *r, int status, const char *detail) {
    return end(r, WATCH_OVER, status, detail);
}

/* Makes room for `need` elements in a growing array. */
static bool grow(void *array, size_t *capacity, size_t need, size_t size) {
    void *old;
    if (need <= *capacity)
        return true;
    size_t more = need * 2;
    memcpy(&old, array, sizeof old);
    void *grown = realloc(old, more * size);
    if (!grown)
        return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = more;
    return true;
}

bool watch_is_final(int status) {
    return status == EW_ERR_DENIED || status == EW_ERR_UNAUTHENTICATED || status == EW_ERR_UNSUPPORTED ||
           status == EW_ERR_TOO_LARGE || status == EW_ERR_BAD_ANSWER || status == EW_ERR_INVALID ||
           status == EW_ERR_WRONG_CLUSTER;
}

/* A new stream starts with the last delivered revision, whose events must arrive again: etcd may have been restored
 * from an older state with the same cluster id, and its revision may have passed the one that was seen
 * (core/watching_history.c). */
int64_t watch_reader_begin(watch_reader *r) {
    r->created = r->asked = false;
    r->unconfirmed = r->last > 0;
    return r->unconfirmed ? r->last : r->next_revision;
}

static watch_news rewritten(watch_reader *r, const char *how) {
    char detail[192];
    snprintf(detail, sizeof detail,
             "etcd's history was rewritten, as by a restore from an older state: events of revisions %lld to %lld %s",
             (long long)r->last, (long long)r->seen, how);
    return end(r, WATCH_OVER, EW_ERR_REVISION_FELL, detail);
}

watch_news watch_reader_miss(watch_reader *r) {
    return rewritten(r, "were seen but are missing now");
}

static watch_news on_canceled(watch_reader *r, const Pb__WatchResponse *m) {
    if (r->unconfirmed && m->compact_revision > r->last && m->compact_revision <= r->seen) {
        r->last = 0; /* no future event is lost, but it cannot be checked any more that the history is the same */
        return end(r, WATCH_BROKEN, EW_ERR_UNAVAILABLE, "the events seen last were compacted");
    }
    /* P4: only compact_revision shows that the start was compacted; header.revision is 0, which is not a rollback. */
    if (m->compact_revision > 0) {
        r->revision = m->compact_revision;
        return end(r, WATCH_OVER, EW_ERR_COMPACTED, "the next revision was compacted");
    }
    const char *reason = m->cancel_reason && m->cancel_reason[0] ? m->cancel_reason : "etcd canceled the watch";
    int status = method_reason(reason);
    if (watch_is_final(status))
        return end(r, WATCH_OVER, status, reason); /* P10: only the text shows an authentication failure */
    if (m->created && status == EW_ERR_UNAVAILABLE && !strstr(reason, "no leader"))
        return end(r, WATCH_OVER, EW_ERR_INVALID, reason); /* refused at its creation: a new attempt would be, too */
    return end(r, WATCH_BROKEN, EW_ERR_UNAVAILABLE, reason);
}

static watch_news on_created(watch_reader *r, const Pb__WatchResponse *m) {
    if (r->created || m->watch_id < 0)
        return end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "invalid response: created twice, or without an id");
    r->created = true;
    r->watch_id = m->watch_id;
    if (r->next_revision == 0) {
        /* A watch "from now on": the revision of this header, unlike an event's (P1), is "now". */
        if (m->header->revision <= 0)
            return end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "invalid response: created without a revision");
        r->next_revision = m->header->revision + 1;
        r->seen = m->header->revision;
    }
    return WATCH_CREATED;
}

/* Adds one event. False: it is invalid. Skips events before `next_revision`: after a restore from a snapshot a watch
 * may replay the past, and a watch that starts in the future may begin too early (P5). */
static bool take_event(watch_reader *r, const Pb__Event *event, int64_t newest, int64_t *highest) {
    if (!event->kv || event->kv->key.len == 0 || event->kv->mod_revision <= 0 || event->kv->mod_revision > newest ||
        (event->type != PB__EVENT__EVENT_TYPE__PUT && event->type != PB__EVENT__EVENT_TYPE__DELETE))
        return false;
    if (event->kv->mod_revision < r->next_revision)
        return true;
    if (event->kv->mod_revision < *highest)
        return false; /* out of order */
    *highest = event->kv->mod_revision;
    ew_watch_event *e = &r->events[r->event_count];
    *e = (ew_watch_event){.kind = event->type == PB__EVENT__EVENT_TYPE__PUT ? EW_EVENT_PUT : EW_EVENT_DELETE};
    bool whole = result_kv(&e->kv, event->kv);
    if (e->kind == EW_EVENT_PUT && !whole)
        return false; /* a delete event has only a key and a revision, so only a put must be whole */
    if (event->prev_kv) {
        e->has_previous = true;
        if (!result_kv(&e->previous, event->prev_kv))
            return false;
    }
    r->event_count++;
    return true;
}

/* Removes the events of the newest revision, since a later fragment may have more of them. Returns the newest revision
 * that is left; 0: none. */
static int64_t leave_out_newest(watch_reader *r, int64_t newest) {
    while (r->event_count > 0 && r->events[r->event_count - 1].kv.mod_revision == newest)
        r->event_count--;
    return r->event_count > 0 ? r->events[r->event_count - 1].kv.mod_revision : 0;
}

static uint64_t digest_kv(ew_event_kind kind, const ew_kv *kv) {
    const int64_t numbers[] = {kv->mod_revision, kv->create_revision, kv->version, kv->lease};
    return event_digest(kind, kv->key, kv->value, numbers);
}

static void keep_last(watch_reader *r) {
    r->last = r->revision;
    r->last_digest = 0;
    for (size_t i = r->event_count; i > 0 && r->events[i - 1].kv.mod_revision == r->last; i--)
        r->last_digest += digest_kv(r->events[i - 1].kind, &r->events[i - 1].kv);
}

/* Checks the first batch of a stream that replaces another one. WATCH_EVENTS: the last delivered events have arrived
 * again. WATCH_NOTHING: all events are older. */
static watch_news confirm(watch_reader *r) {
    uint64_t digest = 0;
    for (size_t i = 0; i < r->part_count; i++) {
        for (size_t j = 0; j < r->parts[i]->n_events; j++) {
            const Pb__Event *e = r->parts[i]->events[j];
            ew_kv kv = {0};
            result_kv(&kv, e->kv); /* returns false for a delete event, which has only a key and a revision */
            ew_event_kind kind = e->type == PB__EVENT__EVENT_TYPE__PUT ? EW_EVENT_PUT : EW_EVENT_DELETE;
            if (kv.mod_revision == r->last)
                digest += digest_kv(kind, &kv);
            else if (kv.mod_revision > r->last && kv.mod_revision <= r->seen)
                return rewritten(r, "have changed");
        }
    }
    if (digest == 0)
        return r->event_count > 0 ? watch_reader_miss(r) : WATCH_NOTHING;
    if (digest != r->last_digest)
        return rewritten(r, "have changed");
    r->unconfirmed = false;
    return WATCH_EVENTS;
}

/* Makes one list of the fragments of a batch, which is complete or cut. */
static watch_news join(watch_reader *r) {
    size_t count = 0;
    int64_t highest = 0;
    for (size_t i = 0; i < r->part_count; i++)
        count += r->parts[i]->n_events;
    if (!grow(&r->events, &r->event_capacity, count, sizeof *r->events))
        return end(r, WATCH_OVER, EW_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < r->part_count; i++) {
        for (size_t j = 0; j < r->parts[i]->n_events; j++) {
            if (!take_event(r, r->parts[i]->events[j], r->parts[i]->header->revision, &highest))
                return end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "invalid event");
        }
    }
    watch_news news = r->unconfirmed ? confirm(r) : WATCH_EVENTS;
    if (news == WATCH_OVER)
        return news;
    if (r->event_count == 0) { /* all events are old */
        watch_reader_clear(r);
        return WATCH_NOTHING;
    }
    bool only_one = r->event_count == count; /* no old events, which count for max_bytes as well */
    if (r->cut && (highest = leave_out_newest(r, highest)) == 0)
        return only_one ? end(r, WATCH_OVER, EW_ERR_TOO_LARGE, "the events of one revision exceed max_receive_bytes")
                        : end(r, WATCH_BROKEN, EW_ERR_UNAVAILABLE, "too many old events");
    r->revision = r->seen = highest;
    r->next_revision = highest + 1;
    keep_last(r);
    return WATCH_EVENTS;
}

static watch_news on_events(watch_reader *r, Pb__WatchResponse *m, size_t size) {
    if (!grow(&r->parts, &r->part_capacity, r->part_count + 1, sizeof *r->parts)) {
        pb__watch_response__free_unpacked(m, NULL);
        return end(r, WATCH_OVER, EW_ERR_NO_MEMORY, "out of memory");
    }
    r->parts[r->part_count++] = m;
    r->bytes +=
        (int64_t)(size + sizeof *m); /* not only `size`, so that fragments without events reach the limit, too */
    r->cut = m->fragment && r->bytes > r->max_bytes;
    /* P3: etcd may split a revision into fragments, so nothing is delivered before the last fragment. */
    return m->fragment && !r->cut ? WATCH_NOTHING : join(r);
}

/* Handles a message without a watch: the reply to a progress request, which may have overtaken events (P2). */
static watch_news on_notice(watch_reader *r, const Pb__WatchResponse *m) {
    if (m->n_events > 0 || m->fragment)
        return end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "invalid response: events without a watch");
    /* The reply to a liveness probe: the events that must arrive again have had enough time. */
    return r->asked && r->created && r->unconfirmed ? watch_reader_miss(r) : WATCH_NOTHING;
}

/* Handles a progress notification of the watch (progress_notify), which is in order with its events. */
static watch_news on_progress(watch_reader *r, const Pb__WatchResponse *m) {
    if (r->unconfirmed)
        return watch_reader_miss(r);
    if (r->next_revision == 0 || m->header->revision < r->next_revision)
        return WATCH_NOTHING;
    r->revision = r->seen = m->header->revision;
    r->next_revision = m->header->revision + 1;
    return WATCH_PROGRESS;
}

static bool is_other_cluster(watch_reader *r, const Pb__WatchResponse *m) {
    if (r->cluster_id == 0)
        r->cluster_id = m->header->cluster_id;
    return r->cluster_id != m->header->cluster_id;
}

watch_news watch_reader_take(watch_reader *r, ew_slice bytes) {
    int status;
    Pb__WatchResponse *m = unpack_message(&pb__watch_response__descriptor, bytes, &status);
    watch_news news;
    if (!m)
        return status == EW_ERR_NO_MEMORY ? end(r, WATCH_OVER, status, "out of memory")
                                          : end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "malformed message");
    if (!m->header || m->header->cluster_id == 0 || m->header->revision < 0 || m->header->revision == INT64_MAX ||
        m->compact_revision < 0) {
        news = end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "message without a valid header");
    } else if (is_other_cluster(r, m)) {
        news = end(r, WATCH_OVER, EW_ERR_WRONG_CLUSTER, "the cluster id changed");
    } else if (m->canceled && (!r->created || m->watch_id == r->watch_id || m->watch_id < 0)) {
        news = on_canceled(r, m);
    } else if (m->header->revision > 0 && m->header->revision < r->seen) {
        r->revision = m->header->revision;
        news = end(r, WATCH_DOUBTED, EW_ERR_UNAVAILABLE, "a member's revision is below the one seen");
    } else if (m->created) {
        news = on_created(r, m);
    } else if (m->watch_id < 0) {
        news = on_notice(r, m);
    } else if (!r->created || m->watch_id != r->watch_id) {
        news = end(r, WATCH_OVER, EW_ERR_BAD_ANSWER, "invalid response: message of another watch");
    } else if (m->n_events > 0 || m->fragment || r->part_count > 0) {
        return on_events(r, m, bytes.len); /* takes ownership of the message */
    } else {
        news = on_progress(r, m);
    }
    pb__watch_response__free_unpacked(m, NULL);
    return news;
}

void watch_reader_clear(watch_reader *r) {
    for (size_t i = 0; i < r->part_count; i++)
        pb__watch_response__free_unpacked(r->parts[i], NULL);
    r->part_count = 0;
    r->event_count = 0;
    r->bytes = 0;
    r->cut = false;
}

void watch_reader_fini(watch_reader *r) {
    watch_reader_clear(r);
    free(r->parts);
    free(r->events);
}
