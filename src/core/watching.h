/* The watching core: decides what the watcher does next. Pure; see docs/architecture.md.
 *
 *               compacted                                opened
 *               .-----.                        .-------------------------.
 *               v     |                        v                         |
 *   IDLE ---> SYNCING-'----- last page ---> WATCHING -----------------> BROKEN
 *               ^                              |    ended, silent      |
 *               '------------------------------'---------------------'
 *                  compacted, response too large, requested, history rewritten
 *
 *   WATCHING --- a revision below what was seen ---> ASKING --- etcd is at it ---> BROKEN
 *                                                      '------- etcd is not -----> SYNCING
 *
 *   every state ---> STOPPED (requested) or FAILED (denied, wrong cluster, responses that stay invalid)
 *
 * SYNCING loads the prefix page by page at one revision. WATCHING has a stream on which the watch is being created or
 * exists; when etcd has created it, the snapshot is reported complete. BROKEN waits before it opens the next stream.
 * What still arrives from a cancelled call or stream is dropped. ASKING has no stream: a linearizable read shows
 * whether the revision fell or only one member was behind.
 *
 * If compactions interrupt load after load, WATCHING may begin before the snapshot: the stream is opened from SYNCING,
 * and the snapshot, one page, is read after the watch was created; see watching_ahead.c.
 *
 * A store that was restored from an older state keeps its cluster id, and its revisions may have passed the last seen
 * one before the watcher reconnects. So a stream is resumed at the last revision that had events, which must come again
 * unchanged; see watching_history.c.
 *
 * With `check_revision` set, a core only reads: the keys of that revision, without their values; then SYNCING --->
 * STOPPED. It FAILS where another core would load again. */
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
    ew_slice key, range_end; /* etcd's range; borrowed for the lifetime of the core */
    int64_t page_bytes;      /* target size of a page's response */
    int64_t receive_bytes;   /* largest response accepted: pages grow up to it while compactions interrupt every load */
    int64_t backoff_min_ms;  /* before the second attempt; doubles, with jitter */
    int64_t backoff_max_ms;
    int64_t silence_ms;     /* probe the stream after this time without a response; a second such time without one
                               breaks the stream */
    uint64_t seed;          /* of the jitter */
    int64_t check_revision; /* 0: snapshot and watch */
    bool watch_first; /* every load begins with the watch, as after many interruptions: for the simulator, in which
                         these are rare */
} watching_config;

typedef enum watching_event_type {
    WATCHING_START,
    WATCHING_PAGE,         /* the range call was answered: `bytes` is a RangeResponse */
    WATCHING_PAGE_FAILED,  /* the range call failed: `status`, `detail` */
    WATCHING_RESPONSE,     /* the stream delivered `bytes`, a WatchResponse */
    WATCHING_STREAM_ENDED, /* the stream has ended: `status`, `detail`. Comes once for each WATCHING_DO_OPEN, also after
                              WATCHING_DO_CLOSE */
    WATCHING_TIMER,        /* the deadline has passed; must not be sent while the stream is not read */
    WATCHING_READ_ON,      /* the stream is read again after a pause: silence counts from here */
    WATCHING_RESYNC,       /* load the prefix again, unless it is being loaded: the snapshot that was sent is wrong.
                              `revision` was seen elsewhere (0: none), so no older load is sufficient; `rewritten`:
                              etcd's history is another one since then */
    WATCHING_STOP,
} watching_event_type;

typedef struct watching_event {
    watching_event_type type;
    int64_t now_ms;
    ew_slice bytes; /* the caller's, for the duration of the step and of the handling of its effects */
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
    WATCHING_DO_SEND_SNAPSHOT, /* epoch, revision, bytes (RangeResponse), first, last; the last one has no keys, and
                                  follows when the watch after the snapshot has been created. `rewritten`: it may be
                                  older than what was sent */
    WATCHING_DO_SEND_EVENTS,   /* epoch, revision, bytes (WatchResponse, whole revisions) */
    WATCHING_DO_SEND_PROGRESS, /* epoch, revision */
    WATCHING_DO_SEND_HEALTH,   /* connected, interruptions; `unsure`: it is unknown whether the history is still the one
                                  that was seen, and only the keys themselves can show it */
    WATCHING_DO_END, /* status, detail: EW_OK after a stop. Given when no call and no stream is left; the last effect */
    WATCHING_DO_LOG, /* level in `status`, text in `detail`, revision */
} watching_effect_type;

typedef struct watching_effect {
    watching_effect_type type;
    uint64_t epoch;
    int64_t revision;
    ew_slice bytes; /* borrowed: from the event, or from the core until its next step */
    bool first, last, connected, rewritten, unsure;
    bool whole; /* of a DO_RANGE: the response is the whole prefix, and may take long */
    unsigned interruptions;
    int status;
    const char *detail; /* borrowed like `bytes` */
} watching_effect;

#define WATCHING_EFFECTS_MAX 8
typedef struct watching_effects {
    watching_effect list[WATCHING_EFFECTS_MAX];
    size_t count;
} watching_effects;

typedef struct watching watching;

watching *watching_new(const watching_config *config); /* NULL when out of memory */
void watching_free(watching *w);

/* Runs one step. `out` is overwritten. If memory runs out, the core ends in FAILED. */
void watching_step(watching *w, const watching_event *event, watching_effects *out);

/* Returns when WATCHING_TIMER is due; INT64_MAX: never. */
int64_t watching_deadline_ms(const watching *w);

watching_state watching_get_state(const watching *w);
uint64_t watching_reconnects(const watching *w);

#endif
