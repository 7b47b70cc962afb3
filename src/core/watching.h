/* The watching core: what the watcher does next. Pure; see docs/architecture.md.
 *
 *               compacted                                opened
 *               .-----.                        .-------------------------.
 *               v     |                        v                         |
 *   IDLE ---> SYNCING-'----- last page ---> WATCHING -----------------> BROKEN
 *               ^                              |    ended, silent      |
 *               '------------------------------'---------------------'
 *                  compacted, answer too large, asked to, history rewritten
 *
 *   WATCHING --- a revision below what was seen ---> ASKING --- etcd is at it ---> BROKEN
 *                                                      '------- etcd is not -----> SYNCING
 *
 *   every state ---> STOPPED (asked to) or FAILED (denied, wrong cluster, answers that stay invalid)
 *
 * SYNCING loads the prefix page by page at one revision. WATCHING has a stream on which the watch is being made, or is;
 * when it is, the snapshot is told to be complete. BROKEN waits for the next stream. Whatever still comes from a call
 * or a stream that was given up is dropped. ASKING has no stream: a linearizable read tells whether the revision fell
 * or one member was behind.
 *
 * Where compactions interrupt load after load, WATCHING may begin before the snapshot: the stream is opened from
 * SYNCING, and the snapshot, one page, is read when the watch stands; see watching_ahead.c.
 *
 * A store that was restored from an older state goes on under the same cluster id, and its revisions may have passed
 * what was seen before anybody looks. So a stream is resumed at the last revision that had events, which must come
 * again as it was; see watching_history.c.
 *
 * With `audit_revision` set, a core does no more than read: the keys of that revision, without their values, and then
 * SYNCING ---> STOPPED; it FAILS where another would load anew.
 */
#ifndef CORE_WATCHING_H
#define CORE_WATCHING_H

#include <etcdworker/error.h>

typedef enum watching_state {
    WATCHING_IDLE,
    WATCHING_SYNCING,
    WATCHING_WATCHING,
    WATCHING_BROKEN,
    WATCHING_ASKING,
    WATCHING_STOPPED,
    WATCHING_FAILED,
} watching_state;

typedef struct watching_config {
    ew_slice key, range_end; /* etcd's range; borrowed for the core's life */
    int64_t page_bytes;      /* a page is sized towards this many bytes of answer */
    int64_t receive_bytes;   /* the largest answer that is accepted: what pages grow to while compactions interrupt
                                every load */
    int64_t backoff_min_ms;  /* before the second attempt; doubles, with jitter */
    int64_t backoff_max_ms;
    int64_t silence_ms;     /* ask for a sign of life after this long without an answer; a second such time without one
                               breaks the stream */
    uint64_t seed;          /* of the jitter */
    int64_t audit_revision; /* 0: snapshot and watch */
    bool watch_first; /* each load begins with the watch, as after many interruptions: of the simulator, where these
                         are rare */
} watching_config;

typedef enum watching_event_type {
    WATCHING_START,
    WATCHING_PAGE,         /* the range call was answered: `bytes` is a RangeResponse */
    WATCHING_PAGE_FAILED,  /* it failed: `status`, `detail` */
    WATCHING_RESPONSE,     /* the stream gave `bytes`, a WatchResponse */
    WATCHING_STREAM_ENDED, /* the stream is gone: `status`, `detail`. Comes once for each WATCHING_DO_OPEN, also after
                              WATCHING_DO_CLOSE */
    WATCHING_TIMER,        /* the deadline has passed; not to be told while the stream is not read */
    WATCHING_READ_ON,      /* the stream is read again, after a while in which it was not: silence counts from here */
    WATCHING_RESYNC,       /* load the prefix again, if it is not being loaded: what was sent of it is wrong. `revision`
                              was seen elsewhere (0: none), so that no older load will do; `rewritten`: and etcd's
                              history is another one since */
    WATCHING_STOP,
} watching_event_type;

typedef struct watching_event {
    watching_event_type type;
    int64_t now_ms;
    ew_slice bytes; /* the caller's, for the length of the step and of the handling of its effects */
    int status;
    const char *detail;
    int64_t revision;
    bool rewritten;
} watching_event;

typedef enum watching_effect_type {
    WATCHING_DO_RANGE,         /* send `bytes`, a RangeRequest; one at a time */
    WATCHING_DO_OPEN,          /* open a stream and send `bytes`, the WatchRequest that creates the watch */
    WATCHING_DO_REQUEST,       /* send `bytes`, a WatchRequest, on the open stream */
    WATCHING_DO_CLOSE,         /* cancel the stream; WATCHING_STREAM_ENDED follows */
    WATCHING_DO_CANCEL_RANGE,  /* cancel the range call; WATCHING_PAGE_FAILED follows */
    WATCHING_DO_SEND_SNAPSHOT, /* epoch, revision, bytes (RangeResponse), first, last; the last one, without keys,
                                  when the watch behind it stands. `rewritten`: it may be older than what was sent */
    WATCHING_DO_SEND_EVENTS,   /* epoch, revision, bytes (WatchResponse, whole revisions) */
    WATCHING_DO_SEND_PROGRESS, /* epoch, revision */
    WATCHING_DO_SEND_HEALTH,   /* connected, interruptions; `unsure`: whether the history is still the one that was seen
                                  is   not known, and only the keys themselves can tell */
    WATCHING_DO_END, /* status, detail: EW_OK after a stop. Given once no call and no stream is left; the last effect */
    WATCHING_DO_LOG, /* level in `status`, text in `detail`, revision */
} watching_effect_type;

typedef struct watching_effect {
    watching_effect_type type;
    uint64_t epoch;
    int64_t revision;
    ew_slice bytes; /* borrowed: from the event, or from the core until its next step */
    bool first, last, connected, rewritten, unsure;
    bool whole; /* of a DO_RANGE: the answer is the whole prefix, and may take long */
    unsigned interruptions;
    int status;
    const char *detail; /* like `bytes` */
} watching_effect;

#define WATCHING_EFFECTS_MAX 8
typedef struct watching_effects {
    watching_effect list[WATCHING_EFFECTS_MAX];
    size_t count;
} watching_effects;

typedef struct watching watching;

watching *watching_new(const watching_config *config); /* NULL when out of memory */
void watching_free(watching *w);

/* One step. `out` is filled from the start. Running out of memory ends in FAILED. */
void watching_step(watching *w, const watching_event *event, watching_effects *out);

/* When WATCHING_TIMER is due; INT64_MAX for never. */
int64_t watching_deadline_ms(const watching *w);

watching_state watching_get_state(const watching *w);
uint64_t watching_reconnects(const watching *w);

#endif
