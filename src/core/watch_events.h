/* Reads the events of a serialized WatchResponse in place. Events are most of a worker's input, and protobuf-c would
 * copy each of them twice: for the watcher, which examines them, and for the reactor, which keeps them. All other
 * fields are left to protobuf-c. */
#ifndef CORE_WATCH_EVENTS_H
#define CORE_WATCH_EVENTS_H

#include "etcd.pb-c.h"

#include <etcdworker/types.h>

typedef struct watch_event {
    int32_t type; /* a Pb__Event__EventType, or invalid */
    bool has_kv;
    ew_slice key, value; /* point into the response */
    int64_t mod_revision, create_revision, version, lease;
    ew_slice previous; /* the serialized key-value before the event; `data` is NULL if the event has none */
} watch_event;

typedef struct watch_events {
    const uint8_t *at, *end;
    bool malformed; /* invalid WatchResponse, from `at` on */
    size_t rest;    /* bytes of other fields, as far as it has been read */
} watch_events;

watch_events watch_events_of(ew_slice response);

/* Gets the next event. Returns false at the end, and if the response is malformed (`malformed` is set). */
bool watch_events_next(watch_events *s, watch_event *out);

/* Reads a serialized key-value into the members of `out` that describe an event's own key-value. Returns false if it is
 * malformed. */
bool watch_events_kv(ew_slice kv, watch_event *out);

/* A summary of a response's events. Their mod_revisions are the only ones that count (ETCD P1). */
typedef struct watch_events_summary {
    size_t count;
    int64_t lowest;
    int64_t highest;                /* -1: an event is invalid, or they are out of order */
    int64_t before;                 /* the revision of the events before those at `highest`; 0: none */
    ew_slice newest, newest_before; /* from the first event at `highest`, and at `before`, on */
    size_t rest;                    /* bytes of the response that are not events */
} watch_events_summary;

/* Returns false if it is not a WatchResponse. The events must be of the keys that `create` watches. */
bool watch_events_summarise(const Pb__WatchCreateRequest *create, ew_slice response, watch_events_summary *out);

/* Returns a digest of an event, to recognise the event when it comes again; never 0. The digest of several events is
 * the sum of their digests, because the order of the events of one revision is not guaranteed. It does not protect
 * against forged events. */
uint64_t watch_events_digest(const watch_event *e);

/* Copies all other fields of a response that watch_events_next has read to its end; it counted their bytes in
 * `rest`. */
void watch_events_rest(ew_slice response, uint8_t *rest);

#endif
