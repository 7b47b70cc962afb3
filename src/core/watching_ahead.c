/* The load that no compaction can interrupt: the last resort if compactions come so often that no load finishes in
 * time.
 *
 * A load from SYNCING names its revision twice: in each page after the first, and in the watch after the last one. A
 * compaction may pass the revision in between. The load of this file names no revision. First the watch is opened, from
 * now on; when it exists, the whole range is read at once, at the newest revision. The events that the watch shows
 * meanwhile are kept, and sent on after the snapshot; events that the snapshot already contains are dropped by their
 * revision, as always (SEMANTICS 11).
 *
 * It is not the usual load, because the prefix must fit one response, and the kept events must fit memory. If they do
 * not fit, loads continue in pages. */
#include "core/watching_internal.h"

/* The kept events may have this many times page_bytes, 32 MiB by default. */
#define KEPT_PAGES 4

void watching_go_ahead(watching *w) {
    w->ahead = !w->never_ahead;
}

void watching_not_ahead(watching *w, watching_effects *out, const char *why) {
    watching_resync(w, out, why);
    w->ahead = false;
    w->never_ahead = true;
}

void watching_keep(watching *w, ew_slice events, watching_effects *out) {
    if ((int64_t)(w->kept.len + events.len) > w->config.page_bytes * KEPT_PAGES)
        watching_not_ahead(w, out, "too many changes while the prefix is read in one response");
    else if (!buffer_append(&w->kept, events))
        watching_fail(w, out, EW_ERR_NO_MEMORY, "keeping the changes during a load");
}

void watching_drop_kept(watching *w) {
    buffer_fini(&w->kept);
    w->kept_sent = false;
}

const char *watching_ahead_is_wrong(const watching *w, const Pb__RangeResponse *page) {
    if (page->more)
        return "page that announces more keys, although all were requested";
    if (page->header->revision < w->ahead_from)
        return "page that is older than the watch"; /* ETCD P7 */
    return NULL;
}

void watching_ahead_done(watching *w, watching_effects *out) {
    w->ahead = false;
    watching_tell_connected(w, out, false);
    w->kept_sent = true; /* unchanged until the next step */
    if (w->kept.len == 0)
        return;
    const watch_stream_news kept = watch_stream_read(&w->stream, buffer_bytes(&w->kept));
    if (kept.kind == WATCH_STREAM_EVENTS)
        watching_send_events(w, &kept, out);
    else
        watching_trouble(w, out, kept.status, kept.detail);
}
