/* Reads the events of a serialized WatchResponse in place. Events are most of a worker's input, and protobuf-c would
 * copy each of them twice: for the watcher, which examines them, and for the reactor, which keeps them. All other
 * fields are left to protobuf-c. */
#ifndef CORE_WATCH_EVENTS_H
#define CORE_WATCH_EVENTS_H

#include <etcdworker/types.h>

typedef struct watch_event {
    int32_t type; /* a Pb__Event__EventType, or invalid */
    bool has_kv;
    ew_slice key, value; /* point into the response */
    int64_t mod_revision, create_revision, version, lease;
} watch_event;

typedef struct watch_events {
    const uint8_t *at, *end;
    bool malformed; /* invalid WatchResponse, from `at` on */
    size_t rest;    /* bytes of other fields, as far as it has been read */
} watch_events;

watch_events watch_events_of(ew_slice response);

/* Gets the next event; false if there is none, or `malformed`. */
bool watch_events_next(watch_events *s, watch_event *out);

/* Copies all other fields of a response that watch_events_next has read to its end; it counted their bytes in
 * `rest`. */
void watch_events_rest(ew_slice response, uint8_t *rest);

#endif
