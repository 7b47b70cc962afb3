/* Whether the cache is complete, and breaches: messages that contradict the protocol of the actors. Only this process
 * can send such a message (docs/architecture.md, Who may reach a socket), so it is an error of the library or of the
 * application. The correct message may be lost, so the prefix is loaded again, or the run ends. A breach is never
 * ignored while the worker is ready. */
#include "core/ticking_private.h"

#include "core/bug.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

bool ticking_is_loaded(const ticking *t) {
    return t->sync.state == TICKING_SYNC_LOADED || t->sync.state == TICKING_SYNC_LOADED_BREACHED;
}

bool ticking_is_breached(const ticking *t) {
    return t->sync.state == TICKING_SYNC_LOADING_BREACHED || t->sync.state == TICKING_SYNC_LOADED_BREACHED;
}

bool ticking_is_synced(const ticking *t) {
    return t->sync.state == TICKING_SYNC_LOADED;
}

uint64_t ticking_epoch(const ticking *t) {
    return t->sync.epoch;
}

/* ---- loads ---- */

void ticking_note_page(ticking *t) {
    t->sync.page_ms = t->now_ms;
}

void ticking_load_begins(ticking *t, uint64_t epoch) {
    t->sync.state = TICKING_SYNC_LOADING;
    t->sync.epoch = epoch;
}

void ticking_load_ends(ticking *t) {
    bool again = ticking_is_breached(t);
    t->sync.state = again ? TICKING_SYNC_LOADED_BREACHED : TICKING_SYNC_LOADED;
    if (again)
        ticking_load_again(t, 0, false);
}

/* ---- breaches ---- */

/* Requests a load, which repairs all breaches before it. If a load is running, it may have lost a page, so another load
 * follows it. */
static void repair(ticking *t, const char *why) {
    if (ticking_is_breached(t))
        return;
    ticking_log_text(t, EW_LOG_ERROR, "%s", why);
    bool loaded = ticking_is_loaded(t);
    t->sync.state = loaded ? TICKING_SYNC_LOADED_BREACHED : TICKING_SYNC_LOADING_BREACHED;
    if (loaded)
        ticking_load_again(t, 0, false);
}

void ticking_breach(ticking *t, bool outcome, const char *format, ...) {
    char why[192];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    t->stats.bad_messages++;
    t->stats.breaches++;
    if (ticking_is_ending(t))
        return;
    if (!outcome || !ticking_batch_is_out(t)) {
        repair(t, why);
        return;
    }
    ticking_end(t, EW_ERR_BAD_MESSAGE, "%s", why);
    ticking_emit(t, TICKING_DO_STOP);
}

/* A message of an earlier epoch may come late. But if such messages still come when this epoch has had no page for
 * STALE_MS, the page that began this epoch did not come from the watcher, and no later page of the watcher will fit. */
void ticking_breach_stale(ticking *t, const char *message, uint64_t epoch) {
    enum { STALE_MS = 60000 };
    t->stats.bad_messages++;
    if (!ticking_is_loaded(t) && epoch > 0 && t->now_ms - t->sync.page_ms > STALE_MS)
        ticking_end(t, EW_ERR_BAD_MESSAGE, "%s: epoch %" PRIu64 ", but epoch %" PRIu64 " was never loaded", message,
                    epoch, t->sync.epoch);
}

/* Returns whether a message belongs to the loaded epoch. A later epoch, or a change before the last page, means that a
 * snapshot was lost. */
bool ticking_epoch_holds(ticking *t, uint64_t epoch, const char *message) {
    if (epoch == t->sync.epoch && ticking_is_loaded(t))
        return true;
    if (epoch < t->sync.epoch && EW_BUG(epoch_ignored))
        return ticking_is_loaded(t);
    if (epoch < t->sync.epoch)
        ticking_breach_stale(t, message, epoch);
    else
        ticking_breach(t, false, "%s: epoch %" PRIu64 ", whose snapshot is not complete", message, epoch);
    return false;
}
