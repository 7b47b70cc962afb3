/* Events and progress of the watch. */
#include "core/ticking_private.h"

#include "core/bug.h"
#include "core/slice.h"
#include "core/watch_events.h"

#include <inttypes.h>

/* Applies an event. Drops a replayed one, by its mod_revision (SEMANTICS 11, ETCD P1, P5): an event that is not newer
 * than everything received before this message, or that follows a newer event in this message, has been seen before,
 * and its key may have been deleted since. */
static void take_event(ticking *t, const watch_event *e, int64_t before) {
    const int64_t revision = e->mod_revision;
    if ((revision <= before || revision < ticking_received(t)) && !EW_BUG(replay_believed))
        return;
    ticking_receive(t, revision);
    t->stats.events++;
    const ew_entry now = {e->key, e->value, revision, e->create_revision, e->version, e->lease};
    ticking_take_change(t, &now, e->type == PB__EVENT__EVENT_TYPE__DELETE);
}

/* Applies the changes that need not wait for a tick of their own. One tick per revision is possible only while nothing
 * is pending. So changes that come while a group is undecided, or before the worker's own commit, are shown together
 * (SEMANTICS 8), and so are changes that exceed the memory limit. */
static void apply_what_may(ticking *t) {
    if (ticking_groups_pend(t) || (int64_t)ticking_change_bytes(t) > t->config.max_pending_update_bytes)
        ticking_apply_all(t);
    while (ticking_changes_wait(t) && !ticking_barrier_is_open(t))
        ticking_apply_revision(t);
}

void ticking_take_events(ticking *t, uint64_t epoch, const Msg__Events *e) {
    if (!ticking_epoch_holds(t, epoch, "EVENTS"))
        return;
    const int64_t before = ticking_received(t);
    if (e->revision <= before && !EW_BUG(replay_believed)) {
        ticking_breach(t, false, "EVENTS: revision %" PRId64 " is not above %" PRId64 ", which was seen before",
                       e->revision, before);
        return;
    }
    int64_t highest = 0;
    watch_events s = watch_events_of(slice_of(e->response));
    watch_event event;
    bool sound = true;
    while (sound && watch_events_next(&s, &event)) {
        sound = event.has_kv && event.mod_revision > 0;
        highest = event.mod_revision > highest ? event.mod_revision : highest;
        if (sound)
            take_event(t, &event, before);
    }
    if (!sound || s.malformed) {
        /* The watcher checks the events, so the message may not be the watcher's. If the run continued, the events
         * after the malformed one would be lost. Those before it have not been shown to the reactor yet. */
        t->stats.bad_messages++;
        ticking_end(t, EW_ERR_BAD_MESSAGE, "events up to revision %" PRId64 " cannot be decoded", e->revision);
    } else if (highest != e->revision) {
        t->stats.bad_messages++;
        ticking_end(t, EW_ERR_BAD_MESSAGE,
                    "EVENTS: revision %" PRId64 ", but the highest mod_revision of its events is %" PRId64, e->revision,
                    highest);
    } else if (t->config.coalesce) {
        ticking_observe(t, ticking_received(t));
    } else {
        apply_what_may(t);
    }
}

/* Takes a progress notification (SEMANTICS 12). */
void ticking_take_progress(ticking *t, uint64_t epoch, const Msg__Progress *p) {
    if (!ticking_epoch_holds(t, epoch, "PROGRESS"))
        return;
    const int64_t before = ticking_received(t);
    if (p->revision < before)
        ticking_breach(t, false, "PROGRESS: revision %" PRId64 " is below %" PRId64 ", which was seen before",
                       p->revision, before);
    if (p->revision <= before)
        return;
    ticking_receive(t, p->revision);
    ticking_pass_revision(t, p->revision);
}
