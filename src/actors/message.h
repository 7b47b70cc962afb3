/* What the bodies of mailbox messages say. Pure; see proto/actors.proto. */
#ifndef ACTORS_MESSAGE_H
#define ACTORS_MESSAGE_H

#include "actors.pb-c.h"

#include <etcdworker/error.h>

/* Whether a packed Message holds something that a waiting actor must see at once: anything but snapshot, events and
 * progress. (Health, too: a server that is gone takes the outcome with it, and just then readiness must say so.) Looks
 * at the top level only. A body that is no message is urgent too, so that it is dropped soon. */
bool message_is_urgent(ew_slice body);

/* Whether a packed Message tells an actor's end: found without memory, for whoever waits for it and has none. */
bool message_is_down(ew_slice body);
bool message_is_stop(ew_slice body); /* likewise, whether it asks for a stop */

static inline ProtobufCBinaryData message_bytes(ew_slice s) {
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.data}; /* protobuf-c only reads it when packing */
}

static inline ew_slice message_slice(ProtobufCBinaryData b) {
    return (ew_slice){b.data, b.len};
}

#endif
