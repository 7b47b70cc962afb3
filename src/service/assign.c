#include "service/assign.h"
#include "core/log.h"
#include "core/prefix.h"
#include "service/assign_change.h"
#include "service/assign_json.h"

#include <stdio.h>
#include <stdlib.h>

/* A tick plans this many changes at most; the next tick plans the rest, on newer state. */
enum { CHANGES_A_TICK = 1000 };

struct assign {
    char *prefix, *worker;
    assign_plan *plan;
    assign_rules rules;
    bool changed; /* since the last plan that had nothing to change */
};

assign *assign_new(const char *prefix, const char *worker, const assign_args *args) {
    assign *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->prefix = prefix_normalise(prefix);
    a->worker = strdup(worker);
    a->plan = assign_plan_new();
    a->rules = (assign_rules){.max = CHANGES_A_TICK,
                              .tolerance = args->tolerance,
                              .budget = (size_t)args->budget,
                              .grace_ms = args->grace_s * 1000};
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

/* Returns whether `key` is <prefix><folder><id>; the id may contain slashes but is not empty. */
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
    log_fields(EW_LOG_WARN, LOG_NAMED(a->worker), "assign", "invalid key or value; using the default", {"key", text},
               {"problem", problem->text});
}

static int put_member(assign *a, const ew_entry *e, ew_slice id) {
    assign_problem problem = {"the id must be UTF-8 text without NUL; the member gets no tasks"};
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

/* Returns false for a key below by-member/ that names no task: the reactor ignores it. */
static bool split_index(ew_slice id, ew_slice *member_key, ew_slice *task) {
    const char *bytes = id.data, *slash = memchr(bytes, '/', id.len);
    if (!slash || slash + 1 == bytes + id.len)
        return false;
    *member_key = (ew_slice){bytes, (size_t)(slash - bytes)};
    *task = (ew_slice){slash + 1, id.len - member_key->len - 1};
    return true;
}

static int put_index(assign *a, const ew_entry *e, ew_slice id) {
    (void)e;
    ew_slice member_key, task;
    return split_index(id, &member_key, &task) ? assign_plan_put_index(a->plan, member_key, task) : EW_OK;
}

static void delete_index(assign_plan *p, ew_slice id) {
    ew_slice member_key, task;
    if (split_index(id, &member_key, &task))
        assign_plan_delete_index(p, member_key, task);
}

static const struct {
    const char *folder;
    int (*put)(assign *a, const ew_entry *e, ew_slice id);
    void (*delete)(assign_plan *p, ew_slice id);
} folders[] = {
    {ASSIGN_MEMBERS, put_member, assign_plan_delete_member},
    {ASSIGN_TASKS, put_task, assign_plan_delete_task},
    {ASSIGN_ASSIGNMENTS, put_assignment, assign_plan_delete_assignment},
    {ASSIGN_BY_MEMBER, put_index, delete_index},
};

static ew_status update(void *self, const ew_event *event) {
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

static ew_status reset(void *self) {
    assign *a = self;
    assign_plan *fresh = assign_plan_new();
    if (!fresh)
        return EW_ERR_NO_MEMORY;
    assign_plan_free(a->plan);
    a->plan = fresh;
    a->changed = true;
    return EW_OK;
}

/* ---- the tick ---- */

static int tick(void *self, ew_tick *t) {
    assign *a = self;
    int64_t now_ms = ew_tick_now_ms(t);
    if (!a->changed && now_ms < assign_plan_due_ms(a->plan))
        return EW_OK;
    const assign_change *list;
    size_t count;
    int status = assign_plan_changes(a->plan, &a->rules, now_ms, &list, &count);
    for (size_t i = 0; status == EW_OK && i < count; i++)
        status = assign_change_propose(a->prefix, t, &list[i]);
    if (status == EW_OK)
        a->changed = count > 0;
    if (count > 0)
        log_fields(EW_LOG_DEBUG, LOG_NAMED(a->worker), "assign", "planned", {"changes", NULL, (int64_t)count},
                   {"members", NULL, (int64_t)assign_plan_members(a->plan)},
                   {"tasks", NULL, (int64_t)assign_plan_tasks(a->plan)});
    return status;
}

const ew_reactor assign_reactor = EW_REACTOR(.tick = tick, .update = update, .reset = reset);
