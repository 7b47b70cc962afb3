#include "service/demo.h"
#include "core/log.h"
#include "core/prefix.h"
#include "service/demo_board.h"
#include "service/demo_hand.h"
#include "service/demo_keys.h"

#include <stdlib.h>
#include <unistd.h>

struct demo {
    char *prefix;
    demo_board *board; /* used by the reactor's thread only */
    demo_hand *hand;
    const ew_reactor *inner;
    void *inner_self;
};

/* ---- the reactor that wraps the chosen one ---- */

static ew_status update(void *self, const ew_event *event) {
    demo *d = self;
    if (!demo_board_update(d->board, event))
        return EW_ERR_NO_MEMORY;
    return d->inner->update ? d->inner->update(d->inner_self, event) : EW_OK;
}

static ew_status reset(void *self) {
    demo *d = self;
    return d->inner->reset ? d->inner->reset(d->inner_self) : EW_OK;
}

static int tick(void *self, ew_tick *t) {
    demo *d = self;
    int status = d->inner->tick(d->inner_self, t);
    char next[160];
    demo_hand_next(d->hand, next, sizeof next);
    demo_board_draw(d->board, ew_tick_revision(t), ew_tick_number(t) + 1, ew_tick_now_ms(t), next);
    return status;
}

const ew_reactor demo_reactor = EW_REACTOR(.tick = tick, .update = update, .reset = reset);

/* ---- start and end ---- */

int demo_start(demo **out, const ew_options *o, const chosen *inner, ew_error *err) {
    *out = NULL;
    demo *d = calloc(1, sizeof *d);
    if (!d)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    d->inner = inner->reactor;
    d->inner_self = inner->self;
    d->prefix = prefix_normalise(ew_options_text(o, "prefix"));
    bool keys = demo_board_in_place() && demo_keys_open();
    d->board = d->prefix ? demo_board_new(d->prefix, ew_options_text(o, "endpoints"), keys ? "q" : "Ctrl-C") : NULL;
    int status =
        d->board ? demo_hand_start(&d->hand, o, d->prefix, err) : ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    if (status == EW_OK)
        *out = d;
    else
        demo_stop(d);
    return status;
}

void demo_stop(demo *d) {
    if (!d)
        return;
    demo_keys_restore(); /* first, because the rest may take time */
    demo_hand_stop(d->hand);
    demo_board_free(d->board);
    free(d->prefix);
    free(d);
}

int demo_fd(const demo *d) {
    return d ? demo_keys_fd() : -1;
}

bool demo_is_ended_by_key(const demo *d) {
    return d && demo_keys_take_end();
}

void demo_restore_terminal(void) {
    demo_keys_restore();
    demo_board_restore_terminal();
}

ew_log_level demo_log_level(const settings *s) {
    bool picture = ew_options_int(s->options, "demo") && isatty(STDERR_FILENO);
    if (picture && settings_source_of(s, "log_level") == SOURCE_DEFAULT)
        return EW_LOG_ERROR;
    return (ew_log_level)ew_options_int(s->options, "log_level");
}
