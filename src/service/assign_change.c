#include "service/assign_change.h"
#include "service/assign_index.h"
#include "service/assign_json.h"

#include <stdio.h>
#include <stdlib.h>

/* How many wrong index keys of a task one change deletes at most, to limit the transaction; the next plan has the
 * others. */
enum { STALE_MAX = 6 };

/* What the patch of a change needs at each evaluation. The slices point into `keys`. */
typedef struct change {
    char *from;  /* the member that the assignment named; NULL: there was no assignment */
    char *value; /* to write; NULL: delete the assignment */
    bool stray;  /* the reason to delete: the task does not exist; false: the member does not */
    bool mends;  /* the assignment stays; only its index keys are written */
    ew_slice assignment, task, from_member, to_member;
    ew_slice from_index;       /* the index key of the member that the assignment names now; empty: none */
    ew_slice index;            /* the index key to put; empty: none */
    ew_slice stale[STALE_MAX]; /* the index keys to delete */
    size_t stale_count;
    char *keys;
} change;

static void drop_change(void *arg) {
    change *c = arg;
    free(c->from);
    free(c->value);
    free(c->keys);
    free(c);
}

static bool is_there(ew_view *view, ew_slice key) {
    ew_entry e;
    return ew_view_get(view, key, &e) == EW_OK;
}

/* Returns 1 if the assignment is still the one that the plan saw, 0 if not, EW_ERR_NO_MEMORY (negative) when out of
 * memory. */
static int is_as_planned(const change *c, ew_view *view) {
    ew_entry e;
    if (ew_view_get(view, c->assignment, &e) != EW_OK)
        return !c->from;
    if (!c->from)
        return 0;
    assign_problem problem;
    char *member = assign_json_member(e.value, &problem);
    if (!member)
        return EW_ERR_NO_MEMORY;
    int same = strcmp(member, c->from) == 0;
    free(member);
    return same;
}

/* Returns whether the reason for the change still holds. */
static bool has_reason(const change *c, ew_view *view) {
    if (c->mends)
        return true;
    if (c->value)
        return is_there(view, c->task) && is_there(view, c->to_member);
    return c->stray ? !is_there(view, c->task) : !is_there(view, c->from_member);
}

static int write_index(const change *c, ew_view *view) {
    int status = EW_OK;
    /* Even if the plan did not know the key: another daemon may have repaired it since. */
    if (!c->mends && c->from_index.len > 0 && is_there(view, c->from_index))
        status = ew_view_delete(view, c->from_index);
    for (size_t i = 0; status == EW_OK && i < c->stale_count; i++) {
        if (is_there(view, c->stale[i]))
            status = ew_view_delete(view, c->stale[i]);
    }
    if (status == EW_OK && c->index.len > 0 && !is_there(view, c->index))
        status = ew_view_put(view, c->index, (ew_slice){NULL, 0});
    return status;
}

static int apply_change(void *arg, ew_view *view) {
    const change *c = arg;
    int status = is_as_planned(c, view);
    if (status < 0)
        return status;
    if (!status || !has_reason(c, view))
        return EW_IGNORE; /* the next tick plans on the new state */
    status = EW_OK;
    if (!c->mends)
        status = c->value ? ew_view_put(view, c->assignment, ew_str(c->value)) : ew_view_delete(view, c->assignment);
    return status == EW_OK ? write_index(c, view) : status;
}

/* ---- the keys of a change ---- */

/* Writes <prefix><folder><id> at `*at` and moves `*at` to its end. May write one byte (NUL) beyond the end. */
static ew_slice write_key(const char *prefix, char **at, const char *folder, ew_slice id) {
    char *start = *at, *end = stpcpy(stpcpy(start, prefix), folder);
    if (id.len > 0)
        memcpy(end, id.data, id.len);
    *at = end + id.len;
    return (ew_slice){start, (size_t)(*at - start)};
}

/* Writes <prefix>/by-member/<member>/<task> like write_key; `spelt`: `member` is already encoded. */
static ew_slice write_index_key(const char *prefix, char **at, ew_slice member, bool spelt, ew_slice task) {
    char *start = *at, *end = stpcpy(stpcpy(start, prefix), ASSIGN_BY_MEMBER);
    if (!spelt)
        end += assign_index_write(end, member);
    else if (member.len > 0)
        memcpy(end, member.data, member.len);
    end += spelt ? member.len : 0;
    *end++ = '/';
    memcpy(end, task.data, task.len);
    *at = end + task.len;
    return (ew_slice){start, (size_t)(*at - start)};
}

static size_t size_of_keys(const char *prefix, const assign_change *plan) {
    size_t folder = strlen(prefix) + sizeof ASSIGN_ASSIGNMENTS; /* the longest */
    size_t index = folder + 1 + plan->task.len;
    size_t size = 4 * folder + 2 * plan->task.len + 4 * (plan->from.len + plan->to.len) + 2 * index;
    for (const assign_indexed *x = plan->index; x; x = x->next)
        size += index + x->len;
    return size;
}

static void write_keys(change *c, const char *prefix, const assign_change *plan) {
    char *at = c->keys;
    c->assignment = write_key(prefix, &at, ASSIGN_ASSIGNMENTS, plan->task);
    c->task = write_key(prefix, &at, ASSIGN_TASKS, plan->task);
    c->from_member = write_key(prefix, &at, ASSIGN_MEMBERS, plan->from);
    c->to_member = write_key(prefix, &at, ASSIGN_MEMBERS, plan->to);
    if (plan->from.len > 0)
        c->from_index = write_index_key(prefix, &at, plan->from, false, plan->task);
    if (plan->to.len > 0)
        c->index = write_index_key(prefix, &at, plan->to, false, plan->task);
    for (const assign_indexed *x = plan->index; x && c->stale_count < STALE_MAX; x = x->next) {
        ew_slice key = {x->member, x->len};
        if (plan->to.len == 0 || !assign_index_is(key, plan->to))
            c->stale[c->stale_count++] = write_index_key(prefix, &at, key, true, plan->task);
    }
}

static change *new_change(const char *prefix, const assign_change *plan) {
    change *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->keys = malloc(size_of_keys(prefix, plan));
    c->from = plan->from.data ? strndup(plan->from.data, plan->from.len) : NULL;
    c->value = plan->to.data ? assign_json_assignment(plan->to) : NULL;
    if (!c->keys || (plan->from.data && !c->from) || (plan->to.data && !c->value)) {
        drop_change(c);
        return NULL;
    }
    c->mends = plan->to.data == plan->from.data;
    write_keys(c, prefix, plan);
    return c;
}

/* ---- the group of a change ---- */

/* Guards the keys that the change depends on. The plan knows the index keys of the assignment that the tick saw, not
 * those of a later one, even if that names the same member. */
static void guard(ew_group *g, const change *c) {
    ew_group_expect(g, c->assignment);
    if (c->index.len > 0) /* if present, it is not written, and another daemon may delete it meanwhile */
        ew_group_guard(g, c->index);
    if (c->mends)
        return;
    if (c->value || c->stray)
        ew_group_guard(g, c->task);
    if (c->value)
        ew_group_guard(g, c->to_member);
    else if (!c->stray)
        ew_group_guard(g, c->from_member);
    if (c->from_index.len > 0) /* if absent, another daemon may put it meanwhile */
        ew_group_guard(g, c->from_index);
}

int assign_change_propose(const char *prefix, ew_tick *t, const assign_change *plan) {
    change *c = new_change(prefix, plan);
    if (!c)
        return EW_ERR_NO_MEMORY;
    ew_entry e;
    c->stray = ew_tick_get(t, c->task, &e) == EW_ERR_NOT_FOUND;
    ew_group *g = ew_tick_group(t);
    char name[64];
    snprintf(name, sizeof name, "assign %.*s", (int)(plan->task.len < 48 ? plan->task.len : 48),
             (const char *)plan->task.data);
    ew_group_name(g, name);
    guard(g, c);
    return ew_group_patch(g, apply_change, c, drop_change);
}
