/* Reads packed mailbox messages (proto/actors.proto). These functions have no side effects. */
#ifndef ACTORS_MESSAGE_H
#define ACTORS_MESSAGE_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

/* Returns whether a packed Message has a field that an actor must see at once while it waits for an outcome: any field
 * except epoch, snapshot, events, progress and checked. Health is urgent, because a lost connection may take the
 * outcome with it, and readiness must show that. Reads the top level only. An invalid body is urgent, so that it is
 * handled soon. */
bool message_is_urgent(ew_slice body);

/* Returns the actor whose end a packed Message reports (DOWN), or 0 if it reports no end. Allocates no memory, so that
 * a receiver that is out of memory still learns of the end. */
Msg__Actor message_down_actor(ew_slice body);

#endif
