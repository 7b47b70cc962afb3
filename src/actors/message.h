/* What the bodies of mailbox messages say. Pure; see proto/actors.proto. */
#ifndef ACTORS_MESSAGE_H
#define ACTORS_MESSAGE_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

/* Whether a packed Message holds something that a waiting actor must see at once: anything but snapshot, events and
 * progress. (Health, too: a server that is gone takes the outcome with it, and just then readiness must say so.) Looks
 * at the top level only. A body that is no message is urgent too, so that it is dropped soon. */
bool message_is_urgent(ew_slice body);

/* The actor whose end a packed Message reports (DOWN), 0 if it reports none. Needs no memory, for a receiver that waits
 * for it and has none. */
Msg__Actor message_down_actor(ew_slice body);

#endif
