/* The state of the core, and why the run ends. */
#include "core/ticking_private.h"

#include "core/check.h"

#include <stdarg.h>
#include <stdio.h>

/* The allowed transitions, with the text that logs each. */
static const char *const moves[TICKING_DONE + 1][TICKING_DONE + 1] = {
    [TICKING_LOADING] = {[TICKING_READY] = "loading -> ready", [TICKING_DONE] = "loading -> done"},
    [TICKING_READY] = {[TICKING_TICKING] = "ready -> ticking",
                       [TICKING_COMMITTING] = "ready -> committing",
                       [TICKING_AWAITING] = "ready -> awaiting",
                       [TICKING_DONE] = "ready -> done"},
    [TICKING_TICKING] = {[TICKING_READY] = "ticking -> ready",
                         [TICKING_COMMITTING] = "ticking -> committing",
                         [TICKING_AWAITING] = "ticking -> awaiting"},
    [TICKING_COMMITTING] = {[TICKING_AWAITING] = "committing -> awaiting"},
    [TICKING_AWAITING] = {[TICKING_COMMITTING] = "awaiting -> committing",
                          [TICKING_READY] = "awaiting -> ready",
                          [TICKING_DONE] = "awaiting -> done"},
};

ticking_state ticking_get_state(const ticking *t) {
    return t->run.state;
}

bool ticking_batch_is_out(const ticking *t) {
    return t->run.state == TICKING_COMMITTING;
}

bool ticking_wants_outcome_only(const ticking *t) {
    return ticking_batch_is_out(t);
}

void ticking_move(ticking *t, ticking_state to) {
    CHECK(moves[t->run.state][to]);
    ticking_log(t, EW_LOG_DEBUG, moves[t->run.state][to]);
    t->run.state = to;
}

/* ---- the end ---- */

/* Ends the run. Only the first reason is reported. */
void ticking_end(ticking *t, int status, const char *format, ...) {
    if (ticking_is_ending(t))
        return;
    CHECK(status != EW_OK);
    t->run.status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(t->run.detail, sizeof t->run.detail, format, args);
    va_end(args);
}

void ticking_no_memory(ticking *t) {
    ticking_end(t, EW_ERR_NO_MEMORY, "out of memory");
}

bool ticking_is_ending(const ticking *t) {
    return t->run.status != EW_OK;
}

void ticking_set_finished(ticking *t, bool finished) {
    t->run.finished = finished;
}

bool ticking_is_finished(const ticking *t) {
    return t->run.finished;
}

/* SEMANTICS 16: success takes precedence over a stop that came meanwhile. */
void ticking_leave(ticking *t, bool decided) {
    const ticking_run *r = &t->run;
    bool success = r->finished && decided && (r->status == EW_OK || r->status == EW_ERR_CANCELLED);
    ticking_move(t, TICKING_DONE);
    ticking_effect *end = ticking_emit(t, TICKING_DO_END);
    end->status = success ? EW_OK : r->status;
    end->detail = success ? "" : r->detail;
    end->revision = ticking_observed(t);
}
