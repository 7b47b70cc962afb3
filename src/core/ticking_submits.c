/* Groups from other applications: plain puts, deletes and compares, committed behind the reactor's own. */
#include "core/ticking_private.h"

static void reply(ticking *t, uint64_t id, int status, const char *detail) {
    ticking_effect *e = ticking_emit(t, TICKING_DO_REPLY);
    e->submit_id = id;
    e->status = status;
    e->detail = ticking_keep_text(t, detail);
}

/* The group's own error sticks and is looked at once, at the end. */
static void fill(ew_group *g, const Msg__Submit *s) {
    for (size_t i = 0; i < s->n_compares; i++) {
        const Msg__Submit__Compare *c = s->compares[i];
        if (c->absent)
            group_if_absent(g, ticking_slice(c->key));
        else
            group_if_value(g, ticking_slice(c->key), ticking_slice(c->value));
    }
    for (size_t i = 0; i < s->n_puts; i++)
        ew_group_put(g, ticking_slice(s->puts[i]->key), ticking_slice(s->puts[i]->value));
    for (size_t i = 0; i < s->n_deletes; i++)
        ew_group_delete(g, ticking_slice(s->deletes[i]));
}

void ticking_take_submit(ticking *t, uint64_t id, const Msg__Submit *s) {
    if (t->ending || t->finished) {
        reply(t, id, EW_ERR_CANCELLED, "the worker is ending");
        return;
    }
    if (t->submit_count >= t->config.max_submits) {
        reply(t, id, EW_ERR_BUSY, "too many submitted groups are waiting");
        return;
    }
    if (s->n_puts == 0 && s->n_deletes == 0) {
        reply(t, id, EW_ERR_BAD_MESSAGE, "the group has no puts and no deletes");
        return;
    }
    ew_group *g = group_new(&t->scope, 0);
    if (!g) {
        reply(t, id, EW_ERR_NO_MEMORY, "");
        return;
    }
    g->submitted = true;
    g->submit_id = id;
    fill(g, s);
    if (g->error.code != EW_OK) {
        reply(t, id, g->error.code, g->error.detail);
        group_free(g);
        return;
    }
    ticking_list one = {g, g};
    ticking_append(&t->submits, &one);
    t->submit_count++;
}
