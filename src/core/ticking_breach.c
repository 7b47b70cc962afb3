/* Messages that break the protocol of the actors. Only this process can send them (docs/architecture.md, Who may reach
 * a socket), so such a message is an error of the library or of the application. The message that should have come may
 * be lost, so the prefix is loaded again, or the run ends. A breach is never ignored while the worker is ready. */
#include "core/ticking_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *count_breach(ticking *t, const char *format, va_list args) {
    char text[192];
    vsnprintf(text, sizeof text, format, args);
    t->stats.bad_messages++;
    t->stats.breaches++;
    return ticking_keep_text(t, text);
}

/* One load repairs all breaches before it. A load that is running may have lost a page: then another one follows. */
static void load_again(ticking *t, const char *why) {
    if (t->resync_asked)
        return;
    t->resync_asked = true;
    t->resync_after_load = !t->loaded;
    ticking_log(t, EW_LOG_ERROR, why);
    if (t->loaded)
        ticking_load_again(t, 0, false);
}

void ticking_breach(ticking *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *why = count_breach(t, format, args);
    va_end(args);
    if (!t->ending)
        load_again(t, why);
}

void ticking_breach_outcome(ticking *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *why = count_breach(t, format, args);
    va_end(args);
    if (t->ending)
        return;
    if (!ticking_batch_is_out(t)) {
        load_again(t, why);
        return;
    }
    ticking_end(t, EW_ERR_BAD_MESSAGE, "%s", why);
    ticking_emit(t, TICKING_DO_STOP);
}

/* A message of an earlier epoch may come late. If such messages still come when this epoch has had no page for a long
 * time, the page that began this epoch was not the watcher's, and none of the watcher's later pages will fit. */
void ticking_breach_stale(ticking *t, const char *message, uint64_t epoch) {
    enum { STALE_MS = 60000 };
    t->stats.bad_messages++;
    if (!t->loaded && epoch > 0 && t->now_ms - t->page_ms > STALE_MS)
        ticking_end(t, EW_ERR_BAD_MESSAGE, "%s: epoch %" PRIu64 ", but epoch %" PRIu64 " was never loaded", message,
                    epoch, t->epoch);
}

/* ---- loads ---- */

void ticking_breach_load_begins(ticking *t) {
    t->resync_asked = t->resync_after_load = false;
}

void ticking_breach_load_ends(ticking *t) {
    if (!t->resync_after_load)
        return;
    t->resync_after_load = false;
    ticking_load_again(t, 0, false);
}

bool ticking_is_synced(const ticking *t) {
    return t->loaded && !t->resync_asked;
}
