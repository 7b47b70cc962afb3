/* The events of a serialized WatchResponse, read where they stand. They are most of what a worker ever takes in, and
 * protobuf-c would copy each of them twice: for the watcher, who looks at them, and for the reactor, who keeps them.
 * What is not an event is protobuf-c's business. */
#ifndef CORE_WATCH_EVENTS_H
#define CORE_WATCH_EVENTS_H

#include <etcdworker/types.h>

typedef struct watch_event {
    int32_t type; /* Pb__Event__EventType, or something else */
    bool has_kv;
    ew_slice key, value; /* point into the response */
    int64_t mod_revision, create_revision, version, lease;
} watch_event;

typedef struct watch_events {
    const uint8_t *at, *end;
    bool malformed; /* no WatchResponse, from `at` on */
    size_t rest;    /* bytes of other fields, as far as it was gone through */
} watch_events;

watch_events watch_events_of(ew_slice response);

/* The next one; false when there is none, or `malformed`. */
bool watch_events_next(watch_events *s, watch_event *out);

/* Copies all other fields of a response that watch_events_next has gone through, which told how many bytes they are. */
void watch_events_rest(ew_slice response, uint8_t *rest);

#endif
