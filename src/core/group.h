/* A group as the core keeps it: what the reactor asked for, in order, and nothing of what came of it. */
#ifndef CORE_GROUP_H
#define CORE_GROUP_H

#include "core/group_scope.h"

#include <etcdworker/group.h>

typedef enum group_patch_kind {
    GROUP_PUT,
    GROUP_DELETE,
    GROUP_MODIFY,
    GROUP_PATCH,
    GROUP_GUARD,
    GROUP_IF_VALUE,  /* a submit's compare: the key has this value */
    GROUP_IF_ABSENT, /* the key is absent */
} group_patch_kind;

/* One patch; key and value lie behind the struct, in its allocation. */
typedef struct group_patch {
    struct group_patch *next;
    group_patch_kind kind;
    ew_put_lease lease;
    ew_slice key, value;
    ew_modify_fn modify;
    ew_patch_fn patch;
    void *arg;
    ew_drop_fn drop;
} group_patch;

struct ew_group {
    ew_group *next;
    const group_scope *scope;
    uint64_t number; /* for its name */
    char name[64];
    group_patch *first, *last;
    ew_error error; /* the first one sticks */
    ew_done_fn done;
    void *done_arg;
    bool submitted; /* made of a submit: its outcome is the reply to `submit_id` */
    uint64_t submit_id;
};

ew_group *group_new(const group_scope *scope, uint64_t number); /* NULL when out of memory */
void group_free(ew_group *g);                                   /* drops the patches' arguments */

/* A submit's compare. */
int group_if_value(ew_group *g, ew_slice key, ew_slice value);
int group_if_absent(ew_group *g, ew_slice key);

/* "group 3" or its name, for errors. */
const char *group_title(const ew_group *g, char *out, size_t size);

#endif
