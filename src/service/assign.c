#include "service/assign.h"
#include "core/log.h"
#include "core/prefix.h"
#include "service/assign_json.h"
#include "service/assign_plan.h"

#include <stdio.h>
#include <stdlib.h>

/* A tick plans this many changes and leaves the rest to the next, which sees what has happened since. */
enum { CHANGES_A_TICK = 1000 };

struct assign {
    char *prefix, *worker;
    assign_plan *plan;
    bool changed; /* since the last plan that had nothing to change */
};

assign *assign_new(const char *prefix, const char *worker) {
    assign *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->prefix = prefix_normalise(prefix);
    a->worker = strdup(worker);
    a->plan = assign_plan_new();
    if (!a->prefix || !a->worker || !a->plan) {
        assign_free(a);
        return NULL;
    }
    return a;
}

void assign_free(assign *a) {
    if (!a)
        return;
    assign_plan_free(a->plan);
    free(a->prefix);
    free(a->worker);
    free(a);
}

/* ---- the model ---- */

static const char members[] = "/members/", tasks[] = "/tasks/", assignments[] = "/assignments/";

/* Whether `key` is <prefix><folder><id>; the id may hold slashes but not be empty. */
static bool id_in(const assign *a, ew_slice key, const char *folder, ew_slice *id) {
    size_t prefix = strlen(a->prefix), whole = prefix + strlen(folder);
    const char *bytes = key.data;
    if (key.len <= whole || memcmp(bytes, a->prefix, prefix) != 0 ||
        memcmp(bytes + prefix, folder, strlen(folder)) != 0)
        return false;
    *id = (ew_slice){bytes + whole, key.len - whole};
    return true;
}

static void report(const assign *a, ew_slice key, const assign_problem *problem) {
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)(key.len < sizeof text ? key.len : sizeof text - 1),
             (const char *)key.data);
    log_fields(EW_LOG_WARN, a->worker, "assign", "a key's value is wrong and counts with its default", {"key", text},
               {"problem", problem->text});
}

static int put_member(assign *a, const ew_entry *e, ew_slice id) {
    assign_problem problem = {"the name is no UTF-8 text: it gets nothing"};
    int64_t capacity = 1;
    int status = assign_json_can_name(id);
    if (status == EW_ERR_INVALID) {
        report(a, e->key, &problem);
        return EW_OK;
    }
    if (status == EW_OK)
        status = assign_json_number(e->value, "capacity", 0, ASSIGN_MAX_CAPACITY, &capacity, &problem);
    if (status == EW_OK && problem.text[0])
        report(a, e->key, &problem);
    return status == EW_OK ? assign_plan_put_member(a->plan, id, capacity) : status;
}

static int put_task(assign *a, const ew_entry *e, ew_slice id) {
    assign_problem problem;
    int64_t weight = 1;
    int status = assign_json_number(e->value, "weight", 1, ASSIGN_MAX_WEIGHT, &weight, &problem);
    if (status == EW_OK && problem.text[0])
        report(a, e->key, &problem);
    return status == EW_OK ? assign_plan_put_task(a->plan, id, weight) : status;
}

static int put_assignment(assign *a, const ew_entry *e, ew_slice id) {
    assign_problem problem;
    char *member = assign_json_member(e->value, &problem);
    if (!member)
        return EW_ERR_NO_MEMORY;
    if (problem.text[0])
        report(a, e->key, &problem);
    int status = assign_plan_put_assignment(a->plan, id, ew_str(member));
    free(member);
    return status;
}

static const struct {
    const char *folder;
    int (*put)(assign *a, const ew_entry *e, ew_slice id);
    void (*delete)(assign_plan *p, ew_slice id);
} folders[] = {
    {members, put_member, assign_plan_delete_member},
    {tasks, put_task, assign_plan_delete_task},
    {assignments, put_assignment, assign_plan_delete_assignment},
};

static int update(void *self, const ew_event *event) {
    assign *a = self;
    ew_slice id;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (!id_in(a, event->entry.key, folders[i].folder, &id))
            continue;
        a->changed = true;
        if (event->kind == EW_EVENT_PUT)
            return folders[i].put(a, &event->entry, id);
        folders[i].delete(a->plan, id);
    }
    return EW_OK;
}

static int reset(void *self) {
    assign *a = self;
    assign_plan *fresh = assign_plan_new();
    if (!fresh)
        return EW_ERR_NO_MEMORY;
    assign_plan_free(a->plan);
    a->plan = fresh;
    a->changed = true;
    return EW_OK;
}

/* ---- one change ---- */

/* What a change needs each time its patch is run. The keys are allocated with it. */
typedef struct change {
    char *from;  /* whom the assignment named; NULL: there was none */
    char *value; /* to write; NULL: delete */
    bool stray;  /* the reason to delete: the task is gone; else the member is */
    ew_slice assignment, task, from_member, to_member;
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

/* Whether the assignment is still the one that the plan saw; a negative error when out of memory. */
static int is_as_planned(const change *c, ew_view *view) {
    ew_entry e;
    if (ew_view_get(view, c->assignment, &e) != EW_OK)
        return c->from == NULL;
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

/* Whether what the change was decided for still holds. */
static bool has_reason(const change *c, ew_view *view) {
    if (c->value)
        return is_there(view, c->task) && is_there(view, c->to_member);
    return c->stray ? !is_there(view, c->task) : !is_there(view, c->from_member);
}

static int apply_change(void *arg, ew_view *view) {
    const change *c = arg;
    int same = is_as_planned(c, view);
    if (same < 0)
        return same;
    if (!same || !has_reason(c, view))
        return EW_IGNORE; /* the next tick plans on what is there now */
    return c->value ? ew_view_put(view, c->assignment, ew_str(c->value)) : ew_view_delete(view, c->assignment);
}

/* ---- the tick ---- */

/* Writes <prefix><folder><id> at `*at` and moves on behind it; it may use one byte more. */
static ew_slice write_key(const assign *a, char **at, const char *folder, ew_slice id) {
    char *start = *at, *end = stpcpy(stpcpy(start, a->prefix), folder);
    if (id.len > 0)
        memcpy(end, id.data, id.len);
    *at = end + id.len;
    return (ew_slice){start, (size_t)(*at - start)};
}

static change *new_change(const assign *a, const assign_change *plan) {
    change *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    size_t names = sizeof assignments + sizeof tasks + 2 * sizeof members;
    c->keys = malloc(4 * strlen(a->prefix) + names + 2 * plan->task.len + plan->from.len + plan->to.len);
    c->from = plan->from.data ? strndup(plan->from.data, plan->from.len) : NULL;
    c->value = plan->to.data ? assign_json_assignment(plan->to) : NULL;
    if (!c->keys || (plan->from.data && !c->from) || (plan->to.data && !c->value)) {
        drop_change(c);
        return NULL;
    }
    char *at = c->keys;
    c->assignment = write_key(a, &at, assignments, plan->task);
    c->task = write_key(a, &at, tasks, plan->task);
    c->from_member = write_key(a, &at, members, plan->from);
    c->to_member = write_key(a, &at, members, plan->to);
    return c;
}

static int propose(const assign *a, ew_tick *t, const assign_change *plan) {
    change *c = new_change(a, plan);
    if (!c)
        return EW_ERR_NO_MEMORY;
    ew_entry e;
    c->stray = ew_tick_get(t, c->task, &e) == EW_ERR_NOT_FOUND;
    ew_group *g = ew_tick_group(t);
    char name[64];
    snprintf(name, sizeof name, "assign %.*s", (int)(plan->task.len < 48 ? plan->task.len : 48),
             (const char *)plan->task.data);
    ew_group_name(g, name);
    if (c->value || c->stray)
        ew_group_guard(g, c->task);
    if (c->value)
        ew_group_guard(g, c->to_member);
    else if (!c->stray)
        ew_group_guard(g, c->from_member);
    return ew_group_patch(g, apply_change, c, drop_change);
}

static int tick(void *self, ew_tick *t) {
    assign *a = self;
    if (!a->changed)
        return EW_OK;
    const assign_change *list;
    size_t count;
    int status = assign_plan_changes(a->plan, CHANGES_A_TICK, &list, &count);
    for (size_t i = 0; status == EW_OK && i < count; i++)
        status = propose(a, t, &list[i]);
    if (status == EW_OK)
        a->changed = count > 0;
    if (count > 0)
        log_fields(EW_LOG_DEBUG, a->worker, "assign", "planned", {"changes", NULL, (int64_t)count},
                   {"members", NULL, (int64_t)assign_plan_members(a->plan)},
                   {"tasks", NULL, (int64_t)assign_plan_tasks(a->plan)});
    return status;
}

const ew_reactor assign_reactor = EW_REACTOR(.tick = tick, .update = update, .reset = reset);
