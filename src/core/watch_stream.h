/* The watch protocol: one watch of etcd on one stream after the other (ETCD P1 to P10). Used by the worker's watching
 * core and by ew_watch. Pure: no I/O, no clock.
 *
 *   open ---> created ---> events, progress, ... ---> drop ---> open ...
 *
 * It makes the requests, and says what each response means: it tells the watch's responses from others, joins the
 * fragments of a response, checks types, keys and revisions of events, explains a cancellation, and decides when a
 * stream is silent. It also knows whether etcd's history is still the one that was seen.
 *
 * After a restore from an older state (etcdctl snapshot restore, an older data directory, an empty one with the same
 * cluster token) etcd continues with the same cluster id. Its revision first falls, and may have passed the last seen
 * one before a stream is opened again. What was written in between has revisions that count as seen, and would never be
 * noticed. So a stream is opened at the last revision whose events were accepted. They must come again unchanged, which
 * their digest shows, and there must be nothing between them and the newest revision that was seen. Until then the
 * stream is not `confirmed`. Without such events, or after they were compacted, it is confirmed from the beginning.
 *
 * The caller decides what follows: when to open the next stream, which news to accept, and when to give up. */
#ifndef CORE_WATCH_STREAM_H
#define CORE_WATCH_STREAM_H

#include "core/buffer.h"
#include "etcd.pb-c.h"

#include <etcdworker/error.h>

typedef enum watch_stream_kind {
    WATCH_STREAM_NOTHING,
    WATCH_STREAM_EVENTS, /* whole revisions, up to `revision` */
    WATCH_STREAM_FULL,   /* the fragments have more than `joined_max` bytes; whole revisions up to `revision`, 0: none.
                            The rest needs another stream */
    WATCH_STREAM_PROGRESS,  /* nothing else has happened up to `revision` */
    WATCH_STREAM_DOUBTED,   /* etcd is at `revision`, below what was seen: a member lags, or etcd was restored */
    WATCH_STREAM_REWRITTEN, /* what was seen does not come again: `detail` */
    WATCH_STREAM_UNPROVED,  /* what was seen has been compacted: the next stream is opened after it */
    WATCH_STREAM_CANCELED,  /* `detail` is etcd's reason. `status`: what it means; EW_ERR_INVALID: etcd refuses such a
                               watch; EW_ERR_UNAVAILABLE: unknown, another attempt may succeed; EW_ERR_COMPACTED:
                               `revision` is the oldest one that etcd still has */
    WATCH_STREAM_INVALID,   /* `status`: EW_ERR_BAD_ANSWER, EW_ERR_WRONG_CLUSTER or EW_ERR_NO_MEMORY; `detail` */
} watch_stream_kind;

typedef struct watch_stream_news {
    watch_stream_kind kind;
    bool created;            /* etcd has created the watch; there may be events, too */
    bool confirmed;          /* these events have confirmed the stream: they begin with what was seen before */
    int64_t header_revision; /* of the response; if `created`: etcd's revision when it created the watch */
    int64_t revision;
    size_t count;            /* of the events */
    int64_t lowest, highest; /* their revisions. FULL: more events of the highest may follow */
    ew_slice bytes;          /* the events, as a WatchResponse: the caller's, or valid until watch_stream_take_back */
    ew_slice newest;         /* the part of it from the first event of `revision` on */
    int status;
    const char *detail; /* valid until the next call */
} watch_stream_news;

/* The caller may read the members, and only sets those of the first part. */
typedef struct watch_stream {
    Pb__WatchCreateRequest create; /* what to watch; borrowed. `fragment` and `start_revision` are set here */
    int64_t joined_max;            /* most bytes of joined fragments */
    int64_t silence_ms;            /* a stream is probed after this time without a response */
    bool copies;                   /* events are always copied, so that they are valid until watch_stream_take_back */
    uint64_t cluster_id;           /* the expected one; 0: that of the next response */

    bool created;
    int64_t watch_id;
    bool confirmed;
    int64_t seen;     /* the newest revision that etcd is known to have had; 0: none */
    int64_t last;     /* the newest revision whose events were accepted; 0: none, or they cannot come again */
    bool last_proves; /* these events include a put. A deletion has only a key and a revision, which another history
                         may have as well; a put also has its value, create_revision, version and lease */
    uint64_t last_digest;
    bool asked;           /* a liveness probe was sent */
    unsigned renewals;    /* streams that were replaced for silence, in a row */
    int64_t patience_ms;  /* for this stream to be created */
    int64_t silent_at_ms; /* when to call watch_stream_check_silence */
    buffer joined;
    bool lent; /* the last news point to `joined` */
    char detail[256];
} watch_stream;

void watch_stream_fini(watch_stream *s);

/* A new stream. Makes the request that creates the watch from revision `from` on (0: from now on), or from what must
 * come again. It points into `s`. The watch should be created within `patience_ms`. */
void watch_stream_open(watch_stream *s, Pb__WatchRequest *request, int64_t from, int64_t now_ms, int64_t patience_ms);

/* The stream has ended, or is of no use any more. What it has sent of an incomplete response is forgotten. */
void watch_stream_drop(watch_stream *s);

/* Takes a response of the stream. */
watch_stream_news watch_stream_take(watch_stream *s, ew_slice bytes, int64_t now_ms);

/* Reads bytes of earlier news, one after the other. The result is EVENTS or INVALID. */
watch_stream_news watch_stream_read(watch_stream *s, ew_slice bytes);

/* The news, EVENTS, FULL or PROGRESS, have been passed on: the watch continues after their revision. */
void watch_stream_accept(watch_stream *s, const watch_stream_news *news);

/* The bytes of the last news are not used any more. */
void watch_stream_take_back(watch_stream *s);

/* Everything up to `revision` is known otherwise: nothing has to come again. */
void watch_stream_seek(watch_stream *s, int64_t revision);

/* ---- silence ---- */

typedef enum watch_stream_silence {
    WATCH_STREAM_ALIVE,
    WATCH_STREAM_UNASKED,   /* send a liveness probe */
    WATCH_STREAM_UNCREATED, /* etcd has not created the watch in time */
    WATCH_STREAM_SILENT,    /* open another stream, after watch_stream_renew */
    WATCH_STREAM_MISSING,   /* several streams were silent and have not shown again what was seen: watch_stream_miss */
} watch_stream_silence;

watch_stream_silence watch_stream_check_silence(const watch_stream *s, int64_t now_ms);

/* Makes a liveness probe. The reply may overtake events (ETCD P2), so it only shows that the stream is alive. */
void watch_stream_probe(watch_stream *s, Pb__WatchRequest *request, int64_t now_ms);

void watch_stream_listen(watch_stream *s, int64_t now_ms); /* silence counts from now on */
void watch_stream_renew(watch_stream *s);                  /* the next stream has twice as long, up to 16 times */

/* Returns REWRITTEN: what was seen should have come again by now. */
watch_stream_news watch_stream_miss(watch_stream *s);

/* Checks the header of any response of etcd. Returns EW_OK, or EW_ERR_BAD_ANSWER or EW_ERR_WRONG_CLUSTER with
 * `detail`. */
int watch_stream_check_header(watch_stream *s, const Pb__ResponseHeader *header);

int64_t watch_stream_after(int64_t now_ms, int64_t ms); /* INT64_MAX instead of an overflow */

#endif
