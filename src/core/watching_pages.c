/* The snapshot: the prefix, page by page, all pages at the revision of the first (SEMANTICS 3). */
#include "core/watching_internal.h"

#include "core/bug.h"
#include "core/pages.h"
#include "core/slice.h"

#include <stdio.h>
#include <stdlib.h>

void watching_start_pages(watching *w) {
    w->pinned = w->config.check_revision;
    w->next.len = w->bound.len = w->level = 0;
    w->from_bound = w->unfinished = false;
    w->fresh = true;
    if (w->config.watch_first && w->config.check_revision == 0)
        watching_go_ahead(w);
}

/* ---- compaction ---- */

static void set_small_pages(watching *w) {
    w->page_bytes = w->config.page_bytes;
    w->limit_max = WATCHING_LIMIT_MAX;
    if (w->limit > w->limit_max)
        w->limit = w->limit_max;
}

void watching_reset_pages(watching *w) {
    w->unproved = w->ahead = w->never_ahead = false;
    w->interrupted = 0;
    set_small_pages(w);
}

static int64_t fourfold(int64_t n, int64_t most) {
    return n > most / 4 ? most : n * 4;
}

/* A load must end before the next compaction passes its revision, and etcd counts the rest of the range for each page,
 * so fewer and larger pages are faster. In the end one page holds everything, if a response may be so large, and is
 * read after the watch has begun. Returns whether pages can be larger than before. */
static bool enlarge_pages(watching *w) {
    int64_t largest = w->config.receive_bytes / 8 * 7; /* keys differ in size */
    if (w->page_bytes < largest)
        w->page_bytes = fourfold(w->page_bytes, largest);
    w->limit_max = fourfold(w->limit_max, WATCHING_LIMIT_LARGEST);
    int64_t limit = fourfold(w->limit, w->limit_max);
    if (w->key_bytes > 0 && limit > w->page_bytes / w->key_bytes)
        limit = w->page_bytes / w->key_bytes;
    if (limit <= w->limit)
        return false;
    w->limit = limit;
    return true;
}

/* etcd confirms a watch before it checks whether its revision has been compacted. So a watch that has shown nothing and
 * is not old proves nothing: a compaction may have passed the load's revision at its very end. */
static bool is_loading(const watching *w) {
    bool new_watch = w->unproved && w->now_ms < watch_stream_after(w->created_at_ms, w->config.backoff_max_ms);
    return w->state == WATCHING_SYNCING || w->unfinished || w->ahead || new_watch;
}

/* If a watch existed before, compacted history does not mean that loads are too slow. */
void watching_compacted(watching *w, watching_effects *out, const char *why) {
    if (!is_loading(w)) {
        bool reported = w->interrupted > 0 && !w->connected;
        watching_reset_pages(w);
        if (reported)
            watching_send_health(w, out, false);
        watching_resync(w, out, why);
        return;
    }
    char text[160];
    bool larger = enlarge_pages(w), was_ahead = w->ahead;
    w->interrupted++;
    if (!larger && w->interrupted >= WATCHING_AHEAD_AFTER)
        watching_go_ahead(w);
    if (w->ahead)
        snprintf(text, sizeof text,
                 "a compaction interrupted the load, %u times in a row; now opening the watch first and reading all "
                 "keys at once",
                 w->interrupted);
    else
        snprintf(text, sizeof text,
                 "a compaction interrupted the load, %u times in a row; pages have up to %lld keys now", w->interrupted,
                 (long long)w->limit);
    if (!w->connected) /* otherwise leaving the watch logs it */
        watching_send_health(w, out, false);
    watching_resync(w, out, text);
    if (larger || w->ahead != was_ahead) /* it may be fast enough now: the sooner it begins, the more time it has */
        w->retry_at_ms = w->now_ms;
    w->unproved = false;
}

bool watching_page_is_late(watching *w, watching_effects *out) {
    if (!w->ahead && w->page_bytes <= w->config.page_bytes)
        return false;
    watching_resync(w, out, "a response of this size does not arrive within call_timeout_ms; pages are small again");
    w->ahead = false;
    set_small_pages(w);
    return true;
}

bool watching_shrink_page(watching *w, watching_effects *out) {
    if (w->limit <= 1)
        return false;
    w->limit /= 2;
    watching_say(w, out, EW_LOG_DEBUG, "a page was too large, the next has %lld keys", (long long)w->limit);
    return true;
}

static ew_slice next_key(const watching *w) {
    return w->next.len > 0 ? buffer_bytes(&w->next) : w->config.key;
}

void watching_send_range(watching *w, watching_effects *out) {
    if (!w->ahead && !watching_set_bound(w)) {
        watching_fail(w, out, EW_ERR_NO_MEMORY, "loading the prefix");
        return;
    }
    ew_slice end = w->bound.len > 0 ? buffer_bytes(&w->bound) : w->config.range_end;
    Pb__RangeRequest request = PB__RANGE_REQUEST__INIT;
    request.key = slice_bytes(next_key(w));
    request.range_end = slice_bytes(end);
    request.limit = w->ahead ? 0 : w->limit;
    request.keys_only = w->config.check_revision > 0;
    request.revision = EW_BUG(unpinned_pages) ? 0 : w->pinned;
    ew_slice bytes;
    if (!watching_pack(w, out, &request.base, &bytes))
        return;
    watching_effect *range = watching_emit(out, WATCHING_DO_RANGE);
    range->bytes = bytes;
    range->whole = w->ahead;
    w->range_out = true;
}

/* The next page holds as many keys as fit page_bytes if they are like those of the last page. It grows at most
 * fourfold, because the first keys may be unlike the rest; a limit that a refusal reduced below the minimum grows again
 * only as far as the bytes allow. */
static void adapt_limit(watching *w, size_t keys, size_t bytes) {
    w->key_bytes = (int64_t)(bytes / keys + 1);
    int64_t wanted = w->page_bytes / w->key_bytes;
    int64_t least = w->limit < WATCHING_LIMIT_MIN ? w->limit : WATCHING_LIMIT_MIN;
    int64_t most = fourfold(w->limit, w->limit_max);
    w->limit = wanted < least ? least : wanted > most ? most : wanted;
}

static const char *what_is_wrong(const watching *w, const Pb__RangeResponse *page) {
    const char *wrong = pages_check(page, next_key(w), w->pinned);
    if (!wrong && w->bound.len > 0 && page->n_kvs > 0 &&
        slice_compare(slice_of(page->kvs[page->n_kvs - 1]->key), buffer_bytes(&w->bound)) >= 0)
        return "page with a key after its end";
    return !wrong && w->ahead ? watching_ahead_is_wrong(w, page) : wrong;
}

/* The next page starts at the first key that can follow: after the last key, or at the bound of a page that had no more
 * keys below it. */
static bool keep_next_key(watching *w, const Pb__RangeResponse *page) {
    if (page->more)
        return pages_next(&w->next, page);
    const buffer used = w->next;
    w->next = w->bound;
    w->bound = used;
    return true;
}

static watching_effect *emit_page(watching *w, ew_slice bytes, watching_effects *out) {
    watching_effect *effect = watching_emit(out, WATCHING_DO_SEND_SNAPSHOT);
    effect->epoch = w->epoch;
    effect->revision = w->pinned;
    effect->bytes = bytes;
    return effect;
}

static void send_page(watching *w, const Pb__RangeResponse *page, ew_slice bytes, bool last, watching_effects *out) {
    bool first = w->highest == 0 || w->pinned == 0;
    if (w->pinned == 0)
        w->pinned = page->header->revision;
    watching_effect *effect = emit_page(w, bytes, out);
    effect->first = first;
    effect->last = last;
    effect->rewritten = w->rewritten;
    if (w->highest < w->pinned)
        w->highest = w->pinned;
    w->failures = w->bad_answers = w->denials = w->falls = 0;
    w->retry_at_ms = w->now_ms;
}

/* The end of the snapshot is a page without keys, sent when etcd has created the watch. If the reactor ticked before
 * that, and wrote, the watch would begin in the past: etcd serves such a watch from a loop that runs every 100 ms. */
void watching_finish_snapshot(watching *w, watching_effects *out) {
    if (!w->unfinished)
        return;
    w->unfinished = false;
    w->unproved = true;
    w->rewritten = false;
    emit_page(w, (ew_slice){0}, out)->last = true;
}

static void accept_page(watching *w, const Pb__RangeResponse *page, ew_slice bytes, watching_effects *out) {
    bool last = !page->more && w->bound.len == 0;
    if (!last) {
        watching_learn_bound(w, page);
        if (!keep_next_key(w, page)) {
            watching_fail(w, out, EW_ERR_NO_MEMORY, "loading the prefix");
            return;
        }
        w->from_bound = !page->more;
    }
    send_page(w, page, bytes, last && w->config.check_revision > 0, out);
    if (last && w->config.check_revision > 0) {
        watching_finish(w, out);
    } else if (last) {
        watch_stream_seek(&w->stream, w->pinned);
        w->unfinished = true;
        w->loaded_at_ms = w->now_ms;
        if (w->ahead)
            watching_ahead_done(w, out);
        else
            watching_move(w, out, WATCHING_WATCHING);
    } else if (page->n_kvs > 0) {
        adapt_limit(w, page->n_kvs, bytes.len);
    }
}

void watching_take_page(watching *w, const watching_event *event, watching_effects *out) {
    if (!w->range_out)
        return;
    bool asks = w->range_asks;
    w->range_out = w->range_asks = false;
    if (asks && w->state == WATCHING_ASKING)
        watching_take_revision(w, event, out);
    if (asks || (w->state != WATCHING_SYNCING && !w->ahead))
        return; /* cancelled, too late */
    arena memory;
    arena_init(&memory);
    const Pb__RangeResponse *page = watching_unpack(w, out, &memory, &pb__range_response__descriptor, event->bytes);
    if (page && watching_header_ok(w, out, page->header)) {
        int64_t pinned = w->pinned > 0 ? w->pinned : page->header->revision;
        const char *wrong = what_is_wrong(w, page);
        if (wrong)
            watching_trouble(w, out, EW_ERR_BAD_ANSWER, wrong);
        else if (pinned < w->highest)
            watching_fall(w, out, pinned);
        else
            accept_page(w, page, event->bytes, out);
    }
    arena_fini(&memory);
}
