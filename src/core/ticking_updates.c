/* Events that the reactor's update has not received yet. Entries are shared with the cache: a waiting change is a
 * pointer. */
#include "core/ticking_private.h"

#include <stdlib.h>

/* Initial updates are the cache's own entries, so they only take space in the queue. */
static size_t cost(const ticking_update *u) {
    return sizeof *u + (u->initial ? 0 : mirror_entry_bytes(u->entry));
}

void ticking_drop_updates(ticking *t) {
    for (size_t i = t->updates_head; i < t->updates_len; i++)
        mirror_entry_unref(t->updates[i].entry);
    free(t->updates);
    t->updates = NULL;
    t->updates_head = t->updates_len = t->updates_capacity = t->updates_bytes = 0;
}

/* The waiting updates exceed the limit: the reactor resets its model, and receives the whole cache at the next tick. */
static void overflow(ticking *t) {
    ticking_drop_updates(t);
    t->reset = t->overflowed = true;
    ticking_log(t, EW_LOG_WARN, "pending updates exceed max_pending_update_bytes; the reactor will be reset");
}

void ticking_queue_update(ticking *t, mirror_entry *e, bool deleted, bool initial) {
    if (!t->config.wants_updates || t->overflowed)
        return;
    if (t->updates_len == t->updates_capacity) {
        size_t capacity = t->updates_capacity ? 2 * t->updates_capacity : 16;
        ticking_update *grown = realloc(t->updates, capacity * sizeof *grown);
        if (!grown) {
            ticking_no_memory(t);
            return;
        }
        t->updates = grown;
        t->updates_capacity = capacity;
    }
    ticking_update u = {mirror_entry_ref(e), deleted, initial};
    t->updates[t->updates_len++] = u;
    t->updates_bytes += cost(&u);
    if ((int64_t)t->updates_bytes > t->config.max_pending_update_bytes)
        overflow(t);
}

void ticking_show_begin(ticking *t) {
    t->show_at = t->overflowed ? mirror_seek(t->mirror, (ew_slice){"", 0}) : NULL;
}

void ticking_show_end(ticking *t) {
    mirror_entry_unref(t->shown);
    t->shown = NULL;
    t->show_at = NULL;
    t->overflowed = t->reset = false;
    if (t->updates_head == t->updates_len)
        t->updates_head = t->updates_len = 0;
}

static bool show_mirror(ticking *t, ew_event *event) {
    if (!t->show_at)
        return false;
    *event = (ew_event){EW_EVENT_PUT, true, mirror_entry_view(t->show_at)};
    t->show_at = mirror_next(t->mirror, t->show_at);
    return true;
}

bool ticking_take_update(ticking *t, ew_event *event) {
    mirror_entry_unref(t->shown);
    t->shown = NULL;
    if (t->state != TICKING_TICKING)
        return false;
    if (t->overflowed)
        return show_mirror(t, event);
    if (t->updates_head == t->updates_len)
        return false;
    ticking_update u = t->updates[t->updates_head++];
    t->updates_bytes -= cost(&u);
    t->shown = u.entry;
    *event = (ew_event){u.deleted ? EW_EVENT_DELETE : EW_EVENT_PUT, u.initial, mirror_entry_view(u.entry)};
    return true;
}
