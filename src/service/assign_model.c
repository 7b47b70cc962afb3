#include "service/assign_model.h"

#include "core/slice.h"

#include <stdlib.h>

static int task_by_id(const task *a, const task *b) {
    return slice_compare((ew_slice){a->id, a->id_len}, (ew_slice){b->id, b->id_len});
}

static int task_by_weight(const task *a, const task *b) {
    return a->weight != b->weight ? (a->weight < b->weight) - (a->weight > b->weight) : task_by_id(a, b);
}

static int member_by_id(const member *a, const member *b) {
    return slice_compare((ew_slice){a->id, a->id_len}, (ew_slice){b->id, b->id_len});
}

RB_GENERATE(assign_weights, task, by_weight, task_by_weight)
RB_GENERATE(assign_tasks, task, by_id, task_by_id)
RB_GENERATE(assign_members, member, by_id, member_by_id)
RB_GENERATE(assign_wrongs, task, by_wrong, task_by_id)

void assign_model_lay(task *t, heap *h) {
    if (t->in) {
        RB_REMOVE(assign_weights, &t->in->tree, t);
        t->in->load -= t->weight;
    }
    t->in = h;
    if (h) {
        RB_INSERT(assign_weights, &h->tree, t);
        h->load += t->weight;
    }
}

void assign_model_move(assign_plan *p, task *t, heap *h) {
    assign_model_lay(t, h);
    if (!t->moved)
        p->moved[p->moved_count++] = t;
    t->moved = true;
}

heap *assign_model_home(assign_plan *p, const task *t) {
    if (!t->exists)
        return t->assigned ? &p->strays : NULL;
    return t->named ? &t->named->tasks : &p->homeless;
}

assign_plan *assign_plan_new(void) {
    assign_plan *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    RB_INIT(&p->tasks);
    RB_INIT(&p->members);
    RB_INIT(&p->wrongs);
    p->due_ms = INT64_MAX;
    RB_INIT(&p->homeless.tree);
    RB_INIT(&p->strays.tree);
    return p;
}

static void free_task(task *t) {
    while (t->index) {
        assign_indexed *next = t->index->next;
        free(t->index);
        t->index = next;
    }
    free(t);
}

void assign_plan_free(assign_plan *p) {
    if (!p)
        return;
    task *t, *next_task;
    RB_FOREACH_SAFE(t, assign_tasks, &p->tasks, next_task) {
        RB_REMOVE(assign_tasks, &p->tasks, t);
        free_task(t);
    }
    member *m, *next_member;
    RB_FOREACH_SAFE(m, assign_members, &p->members, next_member) {
        RB_REMOVE(assign_members, &p->members, m);
        free(m);
    }
    free(p->changes);
    free(p->moved);
    free(p->seats);
    free(p);
}

/* ---- records ---- */

/* RB_FIND needs a record as its key, but a record ends in its id of variable length, so the search walks the tree
 * itself. */
static task *find_task(assign_plan *p, ew_slice id) {
    task *t = RB_ROOT(&p->tasks);
    while (t) {
        int order = slice_compare(id, (ew_slice){t->id, t->id_len});
        if (order == 0)
            return t;
        t = order < 0 ? RB_LEFT(t, by_id) : RB_RIGHT(t, by_id);
    }
    return NULL;
}

static member *find_member(assign_plan *p, ew_slice id) {
    member *m = RB_ROOT(&p->members);
    while (m) {
        int order = slice_compare(id, (ew_slice){m->id, m->id_len});
        if (order == 0)
            return m;
        m = order < 0 ? RB_LEFT(m, by_id) : RB_RIGHT(m, by_id);
    }
    return NULL;
}

static task *need_task(assign_plan *p, ew_slice id) {
    task *t = find_task(p, id);
    if (t)
        return t;
    t = calloc(1, sizeof *t + id.len);
    if (!t)
        return NULL;
    t->weight = 1;
    t->id_len = id.len;
    memcpy(t->id, id.data, id.len);
    RB_INSERT(assign_tasks, &p->tasks, t);
    return t;
}

static member *need_member(assign_plan *p, ew_slice id) {
    member *m = find_member(p, id);
    if (m)
        return m;
    m = calloc(1, sizeof *m + id.len);
    if (!m)
        return NULL;
    m->tasks.owner = m;
    RB_INIT(&m->tasks.tree);
    m->id_len = id.len;
    memcpy(m->id, id.data, id.len);
    RB_INSERT(assign_members, &p->members, m);
    return m;
}

static void forget_member(assign_plan *p, member *m) {
    if (m->live || m->named > 0)
        return;
    RB_REMOVE(assign_members, &p->members, m);
    free(m);
}

/* An assignment that names a member has one index key, that of the member; otherwise there is no index key. */
static bool index_is_wrong(const task *t) {
    bool expected = t->named && t->named->id_len > 0;
    if (!expected || !t->index)
        return expected || t->index;
    return t->index->next ||
           !assign_index_is((ew_slice){t->index->member, t->index->len}, (ew_slice){t->named->id, t->named->id_len});
}

/* Call it after a change of a task's record: moves the task to its heap and in or out of `wrongs`, or frees it. */
static void settle(assign_plan *p, task *t) {
    bool wrong = index_is_wrong(t);
    assign_model_lay(t, assign_model_home(p, t));
    if (t->wrong && !wrong)
        RB_REMOVE(assign_wrongs, &p->wrongs, t);
    else if (!t->wrong && wrong)
        RB_INSERT(assign_wrongs, &p->wrongs, t);
    t->wrong = wrong;
    if (t->exists || t->assigned || t->index)
        return;
    RB_REMOVE(assign_tasks, &p->tasks, t);
    free_task(t);
}

static void name(assign_plan *p, task *t, member *m) {
    member *before = t->named;
    if (m)
        m->named++;
    t->named = m;
    settle(p, t);
    if (before) {
        before->named--;
        forget_member(p, before);
    }
}

/* ---- the recorded state ---- */

int assign_plan_put_member(assign_plan *p, ew_slice id, int64_t capacity) {
    member *m = need_member(p, id);
    if (!m)
        return EW_ERR_NO_MEMORY;
    p->live_count += !m->live;
    m->live = true;
    m->missed = false;
    m->capacity = capacity;
    return EW_OK;
}

void assign_plan_delete_member(assign_plan *p, ew_slice id) {
    member *m = find_member(p, id);
    if (!m)
        return;
    p->live_count -= m->live;
    m->live = false;
    forget_member(p, m);
}

int assign_plan_put_task(assign_plan *p, ew_slice id, int64_t weight) {
    task *t = need_task(p, id);
    if (!t)
        return EW_ERR_NO_MEMORY;
    assign_model_lay(t, NULL); /* its place in a heap depends on its weight */
    p->task_count += !t->exists;
    t->exists = true;
    t->weight = weight;
    settle(p, t);
    return EW_OK;
}

void assign_plan_delete_task(assign_plan *p, ew_slice id) {
    task *t = find_task(p, id);
    if (!t || !t->exists)
        return;
    assign_model_lay(t, NULL);
    p->task_count--;
    t->exists = false;
    t->weight = 1; /* the weight no longer exists, so it must not order the strays */
    settle(p, t);
}

int assign_plan_put_assignment(assign_plan *p, ew_slice id, ew_slice member_id) {
    member *m = need_member(p, member_id);
    if (!m)
        return EW_ERR_NO_MEMORY;
    task *t = need_task(p, id);
    if (!t) {
        forget_member(p, m);
        return EW_ERR_NO_MEMORY;
    }
    t->assigned = true;
    name(p, t, m);
    return EW_OK;
}

void assign_plan_delete_assignment(assign_plan *p, ew_slice id) {
    task *t = find_task(p, id);
    if (!t || !t->assigned)
        return;
    t->assigned = false;
    name(p, t, NULL);
}

/* Returns the link to the task's entry of this member, or the link at the end of the list. */
static assign_indexed **find_indexed(task *t, ew_slice member_key) {
    assign_indexed **at = &t->index;
    while (*at && !ew_slice_equal(member_key, (ew_slice){(*at)->member, (*at)->len}))
        at = &(*at)->next;
    return at;
}

int assign_plan_put_index(assign_plan *p, ew_slice member_key, ew_slice id) {
    task *t = need_task(p, id);
    if (!t)
        return EW_ERR_NO_MEMORY;
    assign_indexed **at = find_indexed(t, member_key);
    if (!*at) {
        assign_indexed *added = calloc(1, sizeof *added + member_key.len);
        if (added) {
            added->len = member_key.len;
            memcpy(added->member, member_key.data, member_key.len);
        }
        *at = added;
    }
    int status = *at ? EW_OK : EW_ERR_NO_MEMORY;
    settle(p, t);
    return status;
}

void assign_plan_delete_index(assign_plan *p, ew_slice member_key, ew_slice id) {
    task *t = find_task(p, id);
    assign_indexed **at = t ? find_indexed(t, member_key) : NULL;
    if (!at || !*at)
        return;
    assign_indexed *gone = *at;
    *at = gone->next;
    free(gone);
    settle(p, t);
}

size_t assign_plan_members(const assign_plan *p) {
    return p->live_count;
}

size_t assign_plan_tasks(const assign_plan *p) {
    return p->task_count;
}
