/* The effects of a step. */
#include "core/ticking_private.h"

#include "core/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct ticking_text {
    ticking_text *next;
    char text[];
};

void ticking_effects_fini(ticking_effects *effects) {
    free(effects->list);
    *effects = (ticking_effects){0};
}

void ticking_drop_texts(ticking *t) {
    while (t->output.texts) {
        ticking_text *next = t->output.texts->next;
        free(t->output.texts);
        t->output.texts = next;
    }
}

/* Reserves space for all effects that a step may have, so that emitting them cannot fail. */
bool ticking_output_open(ticking *t, ticking_effects *out, size_t count) {
    if (count > out->capacity) {
        ticking_effect *grown = realloc(out->list, count * sizeof *grown);
        if (!grown)
            return false;
        out->list = grown;
        out->capacity = count;
    }
    t->output.out = out;
    return true;
}

void ticking_output_close(ticking *t) {
    t->output.out = NULL;
}

ticking_effect *ticking_emit(ticking *t, ticking_effect_type type) {
    ticking_effects *out = t->output.out;
    CHECK(out->count < out->capacity);
    ticking_effect *e = &out->list[out->count++];
    *e = (ticking_effect){.type = type};
    return e;
}

/* Returns a copy that lives until the next step. */
static const char *keep_text(ticking *t, const char *text) {
    if (!text || !text[0])
        return "";
    size_t size = strlen(text) + 1;
    ticking_text *kept = malloc(sizeof *kept + size);
    if (!kept)
        return ""; /* the text is lost, but the status still describes the error */
    memcpy(kept->text, text, size);
    kept->next = t->output.texts;
    t->output.texts = kept;
    return kept->text;
}

/* Emits the reply, unless no step is running: while the core is freed, there is no list of effects. */
void ticking_reply(ticking *t, uint64_t submit_id, int status, int64_t revision, const char *detail) {
    if (!t->output.out)
        return;
    ticking_effect *e = ticking_emit(t, TICKING_DO_REPLY);
    e->submit_id = submit_id;
    e->status = status;
    e->revision = revision;
    e->detail = keep_text(t, detail);
}

void ticking_log(ticking *t, ew_log_level level, const char *text) {
    ticking_effect *e = ticking_emit(t, TICKING_DO_LOG);
    e->status = (int)level;
    e->detail = text;
    e->revision = ticking_observed(t);
}

void ticking_log_text(ticking *t, ew_log_level level, const char *format, ...) {
    char text[192];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ticking_log(t, level, keep_text(t, text));
}
