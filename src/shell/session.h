/* The leases of a worker: notifies the reactor when they change. A run ends only if a session ends that the user asked
 * for (SEMANTICS 30): a given session, the election's, or the worker's own with fence_session or with a key bound to
 * it. Any other lost lease is replaced. */
#ifndef SHELL_SESSION_H
#define SHELL_SESSION_H

#include "core/ticking.h"

#include <stdatomic.h>

/* The two lasting leases of a worker: kept alive, and replaced when they are lost. */
typedef enum session_lease {
    SESSION_PRESENCE, /* of the worker's own session and of the owner key */
    SESSION_RECORDS,  /* of the receipt and of clients' records */
} session_lease;

typedef enum session_change {
    SESSION_LOST,
    SESSION_GRANTED, /* etcd has granted another lease */
    SESSION_TAKEN,   /* another worker has put the owner key */
} session_change;

typedef struct session_ops {
    /* Returns the current lease; 0 if it was not opened, or while it is lost. Any thread. */
    int64_t (*lease)(void *arg, session_lease which);
    bool (*given_is_lost)(void *arg); /* whether the given session has ended */
    /* Sends the message to the reactor; drops it if the reactor does not run yet. Runs on the thread that called
     * session_changed, session_ended or session_begin. */
    void (*tell)(void *arg, const Msg__Message *message);
} session_ops;

typedef struct shell_session {
    const session_ops *ops;
    void *arg;
    bool fenced;       /* fence_session */
    bool given;        /* the session is the user's or the election's */
    atomic_bool taken; /* another worker has taken the worker_id */
} shell_session;

/* Notifies the reactor that a lease has changed. */
void session_changed(shell_session *s, session_lease which, session_change change);

/* Notifies the reactor that the given session, which had this lease, has ended. */
void session_ended(shell_session *s, int64_t lease);

/* Notifies the reactor of all changes since its core was configured with these leases (0: not opened). */
void session_begin(shell_session *s, int64_t presence, int64_t records);

/* Returns whether the session whose end ends the run is lost. Call on the reactor's thread. */
bool session_is_lost(const shell_session *s, const ticking *core);

#endif
