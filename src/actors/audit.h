/* The watcher's side of audits (ETCD P6): a second watching core, which only reads. On the watcher's thread and in its
 * queue. */
#ifndef ACTORS_AUDIT_H
#define ACTORS_AUDIT_H

#include "actors/actor.h"
#include "core/watching.h"

typedef struct audit {
    ew_actor *actor; /* the watcher */
    watching_config config;
    int64_t call_timeout_ms;
    uint64_t number, next_number; /* of the one that runs; of the one that is to follow it, 0: none */
    int64_t next_revision;
    watching *core; /* NULL: none runs */
    etcd_call *range;
    ew_slice waiting_range; /* the request of a page that the receiver has no room for yet; malloced */
    bool unstarted;         /* out of memory: told to the core in the next round, as a failure */
    bool over;              /* the core has ended: it goes in the next round */
} audit;

/* What `config` borrows must live as long. */
void audit_init(audit *a, ew_actor *actor, const watching_config *config, int64_t call_timeout_ms);
void audit_fini(audit *a); /* none may run */

/* Begins the audit that was asked for, in place of one that still runs. */
void audit_start(audit *a, const Msg__Audit *asked);

/* None is to run any more; `audit_runs` says when that is so. */
void audit_stop(audit *a);
bool audit_runs(const audit *a);

/* The receiver has room again. */
void audit_room(audit *a);

/* Does what is due, and answers when the next round is. */
int64_t audit_round(audit *a, int64_t now_ms);

#endif
