#include "chaos/model.h"

#include <inttypes.h>
#include <stdio.h>

model_key *model_find(model *m, const char *prefix, ew_slice key) {
    static const struct {
        const char *name;
        unsigned first, count;
    } kinds[] = {{"account", 0, ACCOUNTS}, {"row", ACCOUNTS, ROWS}, {"seat", ACCOUNTS + ROWS, SEATS}};
    char text[160];
    size_t skip = strlen(prefix) + 1;
    if (key.len >= sizeof text || key.len <= skip)
        return NULL;
    memcpy(text, key.data, key.len);
    text[key.len] = '\0';
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].name);
        unsigned n;
        if (strncmp(text + skip, kinds[i].name, len) == 0 && sscanf(text + skip + len, "/%u", &n) == 1 &&
            n < kinds[i].count)
            return &m->keys[kinds[i].first + n];
    }
    return NULL;
}

void model_set(model_key *k, ew_event_kind kind, ew_slice value, int64_t mod_revision) {
    memset(k->value, 0, sizeof k->value);
    k->present = kind == EW_EVENT_PUT;
    k->mod_revision = mod_revision;
    if (k->present)
        snprintf(k->value, sizeof k->value, "%.*s", (int)value.len, (const char *)value.data);
}

/* FNV-1a. The revision at which a key was deleted is not part of the state. */
uint64_t model_hash(const model *m) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        const model_key *k = &m->keys[i];
        const char *text = k->present ? k->value : "-";
        for (size_t n = 0; n <= strlen(text); n++) /* with the terminator */
            hash = (hash ^ (uint8_t)text[n]) * 1099511628211u;
    }
    return hash;
}

bool row_parse(ew_slice text, int64_t cells[WORKERS]) {
    char copy[MODEL_VALUE];
    int used = 0;
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return sscanf(copy, "%" SCNd64 " %" SCNd64 " %" SCNd64 "%n", &cells[0], &cells[1], &cells[2], &used) == WORKERS &&
           (size_t)used == text.len;
}

void row_print(const int64_t cells[WORKERS], char *out, size_t size) {
    snprintf(out, size, "%" PRId64 " %" PRId64 " %" PRId64, cells[0], cells[1], cells[2]);
}
