/* The functions that a reactor calls in its tick. */
#include "core/tick.h"

#include "core/argument.h"
#include "core/ticking.h"

#include <stdarg.h>
#include <stdio.h>

int64_t ew_tick_revision(const ew_tick *t) {
    if (!t)
        return 0;
    return t->revision;
}

uint64_t ew_tick_number(const ew_tick *t) {
    if (!t)
        return 0;
    return t->number;
}

int64_t ew_tick_now_ms(const ew_tick *t) {
    if (!t)
        return 0;
    return t->now_ms;
}

ew_slice ew_tick_prefix(const ew_tick *t) {
    if (!t)
        return (ew_slice){NULL, 0};
    return t->scope->prefix;
}

ew_status ew_tick_fail(ew_tick *t, ew_status status, const char *format, ...) {
    if (ARGUMENT_MISSING(t, NULL))
        return EW_ERR_INVALID;
    char text[sizeof t->error.detail];
    va_list arguments;
    if (t->error.code != EW_OK)
        return status < 0 ? status : EW_ERR_INVALID;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (status >= 0)
        return ew_fail(&t->error, EW_ERR_INVALID, "ew_tick_fail was given %s (%d), which is not an error: %s",
                       ew_errname(status), status, length < 0 ? "" : text);
    return ew_fail(&t->error, status, "%s", length < 0 ? "" : text);
}

static int entry_of(const cache_entry *e, ew_entry *out) {
    if (e && out)
        *out = cache_entry_view(e);
    return e ? EW_OK : EW_ERR_NOT_FOUND;
}

ew_status ew_tick_get(const ew_tick *t, ew_slice key, ew_entry *out) {
    if (ARGUMENT_MISSING(t, NULL))
        return EW_ERR_INVALID;
    const cache_entry *e = cache_get(t->cache, key);
    if (t->reads && group_scope_owns(t->scope, key)) /* a key that is not the reactor's is always absent */
        reads_note_key(t->reads, key, e);
    return entry_of(e, out);
}

int ticking_peek(const ew_tick *t, ew_slice key, ew_entry *out) {
    return entry_of(cache_get(t->cache, key), out);
}

/* Returns the first entry after the key. The cache does not change while a reactor is ticked, so no search is needed if
 * `key` is the last scan's entry itself, in the same memory. Otherwise there is a search: for an interleaved scan, or
 * one that continues after a key in the reactor's own memory. */
static const cache_entry *entry_after(const ew_tick *t, ew_slice key) {
    const cache *m = t->cache;
    const cache_entry *last = *t->scanned;
    if (last) {
        ew_slice its = cache_entry_view(last).key;
        if (its.data == key.data && its.len == key.len)
            return cache_next(m, last);
    }
    const cache_entry *at = cache_seek(m, key);
    return at && ew_slice_equal(cache_entry_view(at).key, key) ? cache_next(m, at) : at;
}

/* Reserved keys are not in the cache, so nothing has to be skipped here. */
static bool scan(const ew_tick *t, ew_slice prefix, ew_entry *e, reads *noted) {
    const cache_entry *at = e->key.data ? entry_after(t, e->key) : cache_seek(t->cache, prefix);
    const ew_entry view = at ? cache_entry_view(at) : (ew_entry){0};
    const bool shown =
        at && view.key.len >= prefix.len && (prefix.len == 0 || memcmp(view.key.data, prefix.data, prefix.len) == 0);
    *t->scanned = at;
    reads_note_step(noted, prefix, e->key, at, shown);
    if (shown)
        *e = view;
    return shown;
}

bool ew_tick_scan(const ew_tick *t, ew_slice prefix, ew_entry *e) {
    return t && e && scan(t, prefix, e, t->reads);
}

bool ticking_peek_scan(const ew_tick *t, ew_slice prefix, ew_entry *e) {
    return scan(t, prefix, e, NULL);
}

size_t ew_tick_count(const ew_tick *t) {
    if (!t)
        return 0;
    reads_note_all(t->reads, t->cache);
    return cache_count(t->cache);
}

size_t ticking_peek_count(const ew_tick *t) {
    return cache_count(t->cache);
}

ew_group *ew_tick_group(ew_tick *t) {
    if (!t)
        return NULL;
    ew_group *g = group_new(t->scope, t->groups_before + t->groups + 1);
    if (!g) {
        t->no_memory = true;
        return NULL;
    }
    g->seen = t->cache;
    g->tracked = t->reads || t->no_memory; /* without memory the run ends for that, not for its options */
    group_list_add(&t->made, g);
    t->groups++;
    return g;
}

uint32_t ticking_tick_groups(const ew_tick *tick) {
    return tick->groups;
}
