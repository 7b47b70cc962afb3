/* What the reactor has not seen yet: events for its update function, and whether there is a reason to tick it. */
#include "core/ticking_private.h"

void ticking_drop_updates(ticking *t) {
    ticking_queue_drop(&t->updates.queue);
    t->updates.show = TICKING_SHOW_CHANGES;
}

/* Drops the waiting updates, which exceed the limit: at the next tick the reactor resets its model and receives the
 * whole cache. */
static void overflow(ticking *t) {
    ticking_drop_updates(t);
    t->updates.show = TICKING_SHOW_CACHE;
    ticking_log(t, EW_LOG_WARN, "pending updates exceed max_pending_update_bytes; the reactor will be reset");
}

void ticking_queue_update(ticking *t, cache_entry *e, ticking_change_kind kind) {
    if (!t->config.wants_updates || t->updates.show == TICKING_SHOW_CACHE)
        return;
    if (!ticking_queue_push(&t->updates.queue, e, kind))
        ticking_no_memory(t);
    else if ((int64_t)ticking_update_bytes(t) > t->config.max_pending_update_bytes)
        overflow(t);
}

size_t ticking_update_bytes(const ticking *t) {
    return ticking_queue_bytes(&t->updates.queue);
}

void ticking_want_tick(ticking *t) {
    t->updates.visible = true;
}

bool ticking_tick_is_wanted(const ticking *t) {
    return t->updates.visible;
}

/* ---- showing the updates ---- */

void ticking_show_reset(ticking *t) {
    if (t->updates.show == TICKING_SHOW_CHANGES)
        t->updates.show = TICKING_SHOW_RESET;
}

bool ticking_show_begin(ticking *t) {
    ticking_updates *u = &t->updates;
    u->visible = false;
    u->at = u->show == TICKING_SHOW_CACHE ? cache_seek(ticking_get_cache(t), (ew_slice){"", 0}) : NULL;
    return u->show != TICKING_SHOW_CHANGES;
}

static void forget_shown(ticking_updates *u) {
    cache_entry_unref(u->shown);
    u->shown = NULL;
}

void ticking_show_end(ticking *t) {
    forget_shown(&t->updates);
    t->updates.at = NULL;
    t->updates.show = TICKING_SHOW_CHANGES;
}

static bool show_cache(ticking *t, ew_event *event) {
    ticking_updates *u = &t->updates;
    if (!u->at)
        return false;
    *event = (ew_event){EW_EVENT_PUT, true, cache_entry_view(u->at)};
    u->at = cache_next(ticking_get_cache(t), u->at);
    return true;
}

bool ticking_take_update(ticking *t, ew_event *event) {
    ticking_updates *u = &t->updates;
    forget_shown(u);
    if (ticking_get_state(t) != TICKING_TICKING)
        return false;
    if (u->show == TICKING_SHOW_CACHE)
        return show_cache(t, event);
    if (ticking_queue_is_empty(&u->queue))
        return false;
    ticking_change c = ticking_queue_pop(&u->queue);
    u->shown = c.entry;
    *event = (ew_event){c.kind == TICKING_DELETE ? EW_EVENT_DELETE : EW_EVENT_PUT, c.kind == TICKING_PUT_INITIAL,
                        cache_entry_view(c.entry)};
    return true;
}
