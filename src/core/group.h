/* A group in the core: the reactor's requests, in order, without their results. */
#ifndef CORE_GROUP_H
#define CORE_GROUP_H

#include "core/cache.h"
#include "core/group_scope.h"
#include "core/reads.h"

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

/* One patch; key and value are stored after the struct, in its allocation. */
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

/* Another request with the same identity, which gets the same reply. */
typedef struct group_copy {
    struct group_copy *next;
    uint64_t submit_id;
} group_copy;

enum { GROUP_RECORD_BYTES = 48 }; /* a packed SubmitRecord has at most 37 */

/* The record that a submit with an identity leaves in etcd: in the same unit as its writes, or alone if it is refused
 * (SEMANTICS 34). */
typedef struct group_record {
    ew_slice key;     /* the client's key; empty: no record is left */
    int64_t revision; /* its mod_revision, as last known; 0: absent, or unknown */
    ew_slice committed, refused;
} group_record;

/* The identity of a submit. */
typedef struct group_submit {
    struct submit_client *client;
    uint64_t sequence, digest;
    group_copy *copies;
    group_record record;
    uint8_t bytes[2][GROUP_RECORD_BYTES]; /* the record's two values */
    bool refused;                         /* its unit holds the refusal, */
    int64_t refused_at;                   /* decided on this revision, */
    char refusal[160];                    /* for this reason */
} group_submit;

/* A key that must be unchanged since the tick; the key is stored after the struct. */
typedef struct group_expectation {
    struct group_expectation *next;
    ew_slice key;
    int64_t mod_revision; /* 0: absent */
} group_expectation;

struct ew_group {
    ew_group *next;
    const group_scope *scope;
    uint64_t number; /* for the default name */
    char name[64];
    const cache *seen; /* the state of the tick that makes the group, for expectations; NULL: not made by a tick */
    group_expectation *expectations;
    bool tracked;       /* the tick's reads are recorded */
    bool expects_reads; /* the group expects them unchanged: `reads`, once the tick is over */
    reads *reads;
    group_patch *first, *last;
    ew_error error; /* the first error is kept */
    ew_done_fn done;
    void *done_arg;
    bool submitted; /* made from a submit: its outcome is the reply to `submit_id` */
    uint64_t submit_id;
    group_submit *submit; /* NULL: no identity */
};

ew_group *group_new(const group_scope *scope, uint64_t number); /* NULL when out of memory */
void group_free(ew_group *g);                                   /* also calls the patches' drop functions */

/* Groups in order; zero it before its first use. */
typedef struct group_list {
    ew_group *first, *last;
} group_list;

void group_list_add(group_list *list, ew_group *g);
void group_list_append(group_list *list, group_list *more); /* leaves `more` empty */
ew_group *group_list_pop(group_list *list);                 /* the first one; the list must not be empty */

/* Add a submit's compare. */
int group_if_value(ew_group *g, ew_slice key, ew_slice value);
int group_if_absent(ew_group *g, ew_slice key);

/* Returns "group 3" or its name, for errors. */
const char *group_title(const ew_group *g, char *out, size_t size);

#endif
