#include "core/ticking_private.h"

#include "core/check.h"

#include <stdlib.h>

struct ticking_text {
    ticking_text *next;
    char text[];
};

void ticking_effects_fini(ticking_effects *effects) {
    free(effects->list);
    *effects = (ticking_effects){0};
}

bool ticking_effects_reserve(ticking_effects *effects, size_t count) {
    if (count <= effects->capacity)
        return true;
    ticking_effect *grown = realloc(effects->list, count * sizeof *grown);
    if (!grown)
        return false;
    effects->list = grown;
    effects->capacity = count;
    return true;
}

/* A step first reserves space for all effects that it may have, so that emitting them cannot fail. */
ticking_effect *ticking_emit(ticking *t, ticking_effect_type type) {
    CHECK(t->out->count < t->out->capacity);
    ticking_effect *e = &t->out->list[t->out->count++];
    *e = (ticking_effect){.type = type};
    return e;
}

void ticking_log(ticking *t, ew_log_level level, const char *text) {
    ticking_effect *e = ticking_emit(t, TICKING_DO_LOG);
    e->status = (int)level;
    e->detail = text;
    e->revision = t->observed;
}

const char *ticking_keep_text(ticking *t, const char *text) {
    if (!text || !text[0])
        return "";
    size_t size = strlen(text) + 1;
    ticking_text *kept = malloc(sizeof *kept + size);
    if (!kept)
        return ""; /* the status still says what happened; the text is lost */
    memcpy(kept->text, text, size);
    kept->next = t->texts;
    t->texts = kept;
    return kept->text;
}

void ticking_drop_texts(ticking *t) {
    while (t->texts) {
        ticking_text *next = t->texts->next;
        free(t->texts);
        t->texts = next;
    }
}
