#include "shell/session.h"

static void tell(shell_session *s, Msg__Session *session) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.session = session;
    s->ops->tell(s->arg, &m);
}

/* `lease` is 0 if the lease is lost. */
static void tell_presence(shell_session *s, int64_t lease) {
    Msg__Session session = MSG__SESSION__INIT;
    session.done = s->fenced;
    session.lost = lease == 0;
    session.session_lease = lease;
    if (!s->given)
        tell(s, &session);
}

static void tell_records(shell_session *s, int64_t lease) {
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = lease;
    if (lease != 0)
        tell(s, &session);
}

static void tell_taken(shell_session *s) {
    Msg__Session session = MSG__SESSION__INIT;
    session.taken = true;
    atomic_store(&s->taken, true);
    tell(s, &session);
}

void session_changed(shell_session *s, session_lease which, session_change change) {
    if (change == SESSION_TAKEN)
        tell_taken(s);
    else if (which == SESSION_PRESENCE)
        tell_presence(s, change == SESSION_LOST ? 0 : s->ops->lease(s->arg, which));
    else if (change == SESSION_GRANTED)
        tell_records(s, s->ops->lease(s->arg, which));
}

void session_ended(shell_session *s, int64_t lease) {
    Msg__Session session = MSG__SESSION__INIT;
    session.lease = lease;
    session.done = true;
    tell(s, &session);
}

void session_begin(shell_session *s, int64_t presence, int64_t records) {
    int64_t present = s->ops->lease(s->arg, SESSION_PRESENCE), recorded = s->ops->lease(s->arg, SESSION_RECORDS);
    if (atomic_load(&s->taken))
        tell_taken(s);
    if (present != presence)
        tell_presence(s, present);
    if (recorded != records)
        tell_records(s, recorded);
}

bool session_is_lost(const shell_session *s, const ticking *core) {
    if (s->given)
        return s->ops->given_is_lost(s->arg);
    if (!s->fenced && !ticking_uses_session(core))
        return false;
    return s->ops->lease(s->arg, SESSION_PRESENCE) != ticking_session_lease(core);
}
