#include "core/group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

ew_group *group_new(const group_scope *scope, uint64_t number) {
    ew_group *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->scope = scope;
    g->number = number;
    return g;
}

void group_free(ew_group *g) {
    if (!g)
        return;
    for (group_patch *p = g->first, *next; p; p = next) {
        next = p->next;
        if (p->drop)
            p->drop(p->arg);
        free(p);
    }
    for (group_copy *c = g->submit ? g->submit->copies : NULL, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(g->submit);
    reads_unref(g->reads);
    for (group_expectation *e = g->expectations, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    free(g);
}

void group_list_append(group_list *list, group_list *more) {
    if (!more->first)
        return;
    if (list->last)
        list->last->next = more->first;
    else
        list->first = more->first;
    list->last = more->last;
    *more = (group_list){NULL, NULL};
}

void group_list_add(group_list *list, ew_group *g) {
    group_list_append(list, &(group_list){g, g});
}

ew_group *group_list_pop(group_list *list) {
    ew_group *g = list->first;
    list->first = g->next;
    if (!list->first)
        list->last = NULL;
    return g;
}

const char *group_title(const ew_group *g, char *out, size_t size) {
    if (g->submitted)
        snprintf(out, size, "a submitted group");
    else if (g->name[0])
        snprintf(out, size, "group %" PRIu64 " (%s)", g->number, g->name);
    else
        snprintf(out, size, "group %" PRIu64, g->number);
    return out;
}

static int fail(ew_group *g, int status, const char *what, ew_slice key) {
    if (g->error.code != EW_OK)
        return status;
    char title[96], text[128];
    return ew_fail(&g->error, status, "%s: %s %s", group_title(g, title, sizeof title), what,
                   group_key_text(key, text, sizeof text));
}

/* Takes ownership of `arg` even on failure, so that it is dropped exactly once. */
static group_patch *add(ew_group *g, group_patch_kind kind, ew_slice key, ew_slice value, void *arg, ew_drop_fn drop) {
    group_patch *p = malloc(sizeof *p + key.len + value.len);
    if (!p) {
        fail(g, EW_ERR_NO_MEMORY, "out of memory at", key);
        if (drop)
            drop(arg);
        return NULL;
    }
    uint8_t *bytes = (uint8_t *)(p + 1);
    if (key.len)
        memcpy(bytes, key.data, key.len);
    if (value.len)
        memcpy(bytes + key.len, value.data, value.len);
    *p = (group_patch){
        .kind = kind, .key = {bytes, key.len}, .value = {bytes + key.len, value.len}, .arg = arg, .drop = drop};
    if (g->last)
        g->last->next = p;
    else
        g->first = p;
    g->last = p;
    return p;
}

static int add_key(ew_group *g, group_patch_kind kind, ew_slice key, ew_slice value) {
    if (!group_scope_owns(g->scope, key))
        return fail(g, EW_ERR_OUTSIDE_PREFIX, "outside the prefix, or reserved:", key);
    return add(g, kind, key, value, NULL, NULL) ? EW_OK : EW_ERR_NO_MEMORY;
}

static const ew_slice nothing = {NULL, 0};

ew_status ew_group_put(ew_group *g, ew_slice key, ew_slice value) {
    return ew_group_put_lease(g, key, value, EW_LEASE_NONE);
}

ew_status ew_group_put_lease(ew_group *g, ew_slice key, ew_slice value, ew_put_lease lease) {
    if (!g)
        return EW_ERR_NO_MEMORY;
    if (lease != EW_LEASE_NONE && lease != EW_LEASE_KEEP && lease != EW_LEASE_SESSION)
        return fail(g, EW_ERR_INVALID, "invalid ew_put_lease for", key);
    if (lease == EW_LEASE_SESSION && g->scope->session_lease == 0)
        return fail(g, EW_ERR_STATE, "the worker has no session for the lease of", key);
    int status = add_key(g, GROUP_PUT, key, value);
    if (status == EW_OK)
        g->last->lease = lease;
    if (status == EW_OK && lease == EW_LEASE_SESSION && g->scope->session_used)
        *g->scope->session_used = true;
    return status;
}

ew_status ew_group_delete(ew_group *g, ew_slice key) {
    return g ? add_key(g, GROUP_DELETE, key, nothing) : EW_ERR_NO_MEMORY;
}

ew_status ew_group_guard(ew_group *g, ew_slice key) {
    return g ? add_key(g, GROUP_GUARD, key, nothing) : EW_ERR_NO_MEMORY;
}

ew_status ew_group_expect(ew_group *g, ew_slice key) {
    if (!g)
        return EW_ERR_NO_MEMORY;
    if (!group_scope_owns(g->scope, key))
        return fail(g, EW_ERR_OUTSIDE_PREFIX, "outside the prefix, or reserved:", key);
    if (!g->seen)
        return fail(g, EW_ERR_STATE, "the group was not made in a tick, so it cannot expect", key);
    group_expectation *e = malloc(sizeof *e + key.len);
    if (!e)
        return fail(g, EW_ERR_NO_MEMORY, "out of memory at", key);
    if (key.len)
        memcpy(e + 1, key.data, key.len);
    const cache_entry *now = cache_get(g->seen, key);
    *e = (group_expectation){g->expectations, {e + 1, key.len}, now ? cache_entry_view(now).mod_revision : 0};
    g->expectations = e;
    return EW_OK;
}

ew_status ew_group_expect_reads(ew_group *g) {
    if (!g)
        return EW_ERR_NO_MEMORY;
    if (!g->tracked)
        return fail(g, EW_ERR_STATE, "the reactor does not set track_reads", nothing);
    g->expects_reads = true;
    return EW_OK;
}

int group_if_value(ew_group *g, ew_slice key, ew_slice value) {
    return add_key(g, GROUP_IF_VALUE, key, value);
}

int group_if_absent(ew_group *g, ew_slice key) {
    return add_key(g, GROUP_IF_ABSENT, key, nothing);
}

/* The library owns the argument from the call on, whatever the call returns. */
static int refuse(ew_group *g, int status, const char *what, ew_slice key, void *arg, ew_drop_fn drop) {
    if (drop)
        drop(arg);
    return g ? fail(g, status, what, key) : status;
}

ew_status ew_group_modify(ew_group *g, ew_slice key, ew_modify_fn fn, void *arg, ew_drop_fn drop) {
    if (!g)
        return refuse(g, EW_ERR_NO_MEMORY, "", key, arg, drop);
    if (!fn)
        return refuse(g, EW_ERR_INVALID, "no function to modify", key, arg, drop);
    if (!group_scope_owns(g->scope, key))
        return refuse(g, EW_ERR_OUTSIDE_PREFIX, "outside the prefix, or reserved:", key, arg, drop);
    group_patch *p = add(g, GROUP_MODIFY, key, nothing, arg, drop);
    if (!p)
        return EW_ERR_NO_MEMORY;
    p->modify = fn;
    return EW_OK;
}

ew_status ew_group_patch(ew_group *g, ew_patch_fn fn, void *arg, ew_drop_fn drop) {
    if (!g)
        return refuse(g, EW_ERR_NO_MEMORY, "", nothing, arg, drop);
    if (!fn)
        return refuse(g, EW_ERR_INVALID, "the patch has no function", nothing, arg, drop);
    group_patch *p = add(g, GROUP_PATCH, nothing, nothing, arg, drop);
    if (!p)
        return EW_ERR_NO_MEMORY;
    p->patch = fn;
    return EW_OK;
}

ew_status ew_group_on_done(ew_group *g, ew_done_fn fn, void *arg) {
    if (!g)
        return EW_ERR_NO_MEMORY;
    g->done = fn;
    g->done_arg = arg;
    return EW_OK;
}

ew_status ew_group_name(ew_group *g, const char *name) {
    if (!g)
        return EW_ERR_NO_MEMORY;
    snprintf(g->name, sizeof g->name, "%s", name ? name : "");
    return EW_OK;
}
