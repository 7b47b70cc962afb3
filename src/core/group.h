/* A group as the core keeps it: what the reactor asked for, in order, and nothing of what came of it. */
#ifndef CORE_GROUP_H
#define CORE_GROUP_H

#include "core/group_scope.h"
#include "core/mirror.h"
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

/* Another request with the same identity, which gets the same reply. */
typedef struct group_copy {
    struct group_copy *next;
    uint64_t submit_id;
} group_copy;

enum { GROUP_RECORD_BYTES = 48 }; /* a packed SubmitRecord takes 37 at most */

/* What a submit with an identity leaves in etcd, in the same unit as its writes, or alone if it is refused (SEMANTICS
 * 33). */
typedef struct group_record {
    ew_slice key;     /* the client's; empty: no record is left */
    int64_t revision; /* its mod_revision, as last known; 0: absent, or not known */
    ew_slice committed, refused;
} group_record;

/* The identity of a submit. */
typedef struct group_submit {
    struct submit_client *client;
    uint64_t sequence, digest;
    group_copy *copies;
    group_record record;
    uint8_t bytes[2][GROUP_RECORD_BYTES]; /* of the record's values */
    bool refused;                         /* what its unit holds is the refusal, */
    int64_t refused_at;                   /* which was decided on this revision, */
    char refusal[160];                    /* and for this reason */
} group_submit;

/* A key that must be as the tick saw it; the key lies behind the struct. */
typedef struct group_expectation {
    struct group_expectation *next;
    ew_slice key;
    int64_t mod_revision; /* 0: absent */
} group_expectation;

struct ew_group {
    ew_group *next;
    const group_scope *scope;
    uint64_t number; /* for its name */
    char name[64];
    const mirror *seen; /* by the tick that makes the group, which may expect keys to stay so; NULL: no tick does */
    group_expectation *expectations;
    bool tracked;       /* its tick's reads are noted */
    bool expects_reads; /* and it stands on them: `reads`, once the tick is over */
    reads *reads;
    group_patch *first, *last;
    ew_error error; /* the first one sticks */
    ew_done_fn done;
    void *done_arg;
    bool submitted; /* made of a submit: its outcome is the reply to `submit_id` */
    uint64_t submit_id;
    group_submit *submit; /* NULL: without an identity */
};

ew_group *group_new(const group_scope *scope, uint64_t number); /* NULL when out of memory */
void group_free(ew_group *g);                                   /* drops the patches' arguments */

/* A submit's compare. */
int group_if_value(ew_group *g, ew_slice key, ew_slice value);
int group_if_absent(ew_group *g, ew_slice key);

/* "group 3" or its name, for errors. */
const char *group_title(const ew_group *g, char *out, size_t size);

#endif
