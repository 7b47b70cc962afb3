/* The watch protocol: continues one watch of etcd over successive streams (ETCD P1 to P10). The worker's watching core
 * and ew_watch use it. Pure: no I/O, no clock.
 *
 *   open ---> created ---> events, progress, ... ---> drop ---> open ...
 *
 * It makes the requests, and finds out what each response means: it distinguishes the watch's responses from others,
 * joins the fragments of a response, checks types, keys and revisions of events, explains a cancellation, and decides
 * when a stream is silent. It also finds out whether etcd's history is still the one that was seen.
 *
 * After a restore from an older state (etcdctl snapshot restore, an older data directory, an empty one with the same
 * cluster token) etcd continues with the same cluster id. Its revision first falls, and may pass the last seen one
 * before a stream is opened again. Changes written in between have revisions that count as seen, so a watch from the
 * next revision on would miss them. So a stream is opened at the last revision whose events were accepted. These events
 * must come again unchanged, which their digest shows, and there must be no event between them and the newest revision
 * that was seen. Until this is known, the stream is not `confirmed`. If there are no such events, or if they were
 * compacted, the stream is confirmed from the beginning.
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
    WATCH_STREAM_PROGRESS,  /* there are no other events up to `revision` */
    WATCH_STREAM_DOUBTED,   /* etcd is at `revision`, below what was seen: a member is behind, or etcd was restored */
    WATCH_STREAM_REWRITTEN, /* the history is another one, as `detail` describes */
    WATCH_STREAM_UNPROVED,  /* the events that were seen have been compacted: open the next stream after them */
    WATCH_STREAM_CANCELED,  /* etcd canceled the watch; `detail` is its reason, `status` what the reason means.
                               EW_ERR_INVALID: etcd refuses such a watch. EW_ERR_UNAVAILABLE: the meaning is unknown,
                               another attempt may succeed. EW_ERR_COMPACTED: `revision` is the oldest one that etcd
                               still has */
    WATCH_STREAM_INVALID,   /* `status`: EW_ERR_BAD_ANSWER, EW_ERR_WRONG_CLUSTER or EW_ERR_NO_MEMORY; `detail` */
} watch_stream_kind;

typedef struct watch_stream_news {
    watch_stream_kind kind;
    bool created;            /* etcd has created the watch; there may also be events */
    bool confirmed;          /* these events have confirmed the stream: they begin with the events seen before */
    int64_t header_revision; /* of the response; if `created`: etcd's revision when it created the watch */
    int64_t revision;
    size_t count;            /* number of events */
    int64_t lowest, highest; /* revisions of the events. FULL: more events at `highest` may follow */
    ew_slice bytes;          /* the events, as a WatchResponse: the caller's, or valid until watch_stream_take_back */
    ew_slice newest;         /* the part of `bytes` from the first event at `revision` on */
    int status;
    const char *detail; /* valid until the next call */
} watch_stream_news;

/* The caller sets the members of the first part, and may read all of them. */
typedef struct watch_stream {
    Pb__WatchCreateRequest create; /* what to watch; borrowed. watch_stream_open sets `fragment` and `start_revision` */
    int64_t joined_max;            /* most bytes of joined fragments */
    int64_t silence_ms;            /* a stream is probed after this time without a response */
    bool copies;                   /* events are always copied, so that they are valid until watch_stream_take_back */
    uint64_t cluster_id;           /* the expected cluster; 0: the cluster of the next response */

    bool created;
    int64_t watch_id;
    bool confirmed;
    int64_t seen;     /* the newest revision that etcd is known to have had; 0: none */
    int64_t last;     /* the newest revision whose events were accepted; 0: none, or they cannot come again */
    bool last_proves; /* these events include a put. A deletion has only a key and a revision, which another history
                         may have as well; a put also has its value, create_revision, version and lease */
    uint64_t last_digest;
    bool asked;           /* a liveness probe was sent, and no response has come since */
    unsigned renewals;    /* streams in a row that were replaced because they were silent */
    int64_t patience_ms;  /* how long etcd may take to create the watch on this stream */
    int64_t silent_at_ms; /* when to call watch_stream_check_silence */
    buffer joined;
    bool lent; /* the last news point to `joined` */
    char detail[256];
} watch_stream;

void watch_stream_fini(watch_stream *s);

/* Begins a new stream. Makes the request that creates the watch, from revision `from` on (0: from now on), or from the
 * events that must come again. The request points into `s`. If etcd does not create the watch within `patience_ms`,
 * watch_stream_check_silence returns WATCH_STREAM_UNCREATED. */
void watch_stream_open(watch_stream *s, Pb__WatchRequest *request, int64_t from, int64_t now_ms, int64_t patience_ms);

/* Ends the stream, and drops the fragments of an incomplete response. */
void watch_stream_drop(watch_stream *s);

/* Takes a serialized WatchResponse of the stream, and returns what it means. */
watch_stream_news watch_stream_take(watch_stream *s, ew_slice bytes, int64_t now_ms);

/* Reads the bytes of earlier news again, in the order in which they came. Returns EVENTS or INVALID. */
watch_stream_news watch_stream_read(watch_stream *s, ew_slice bytes);

/* Accepts news of the kind EVENTS, FULL or PROGRESS, which the caller has passed on: the watch continues after their
 * revision. */
void watch_stream_accept(watch_stream *s, const watch_stream_news *news);

/* Ends the use of the bytes of the last news: they may be freed. */
void watch_stream_take_back(watch_stream *s);

/* Sets the newest revision that was seen. The caller knows everything up to it from elsewhere, so no events have to
 * come again. */
void watch_stream_seek(watch_stream *s, int64_t revision);

/* ---- silence ---- */

typedef enum watch_stream_silence {
    WATCH_STREAM_ALIVE,
    WATCH_STREAM_UNASKED,   /* silent: send a liveness probe */
    WATCH_STREAM_UNCREATED, /* etcd has not created the watch in time */
    WATCH_STREAM_SILENT,    /* silent after a probe, too: call watch_stream_renew, then open another stream */
    WATCH_STREAM_MISSING,   /* the events seen before did not come again on several silent streams: call
                               watch_stream_miss */
} watch_stream_silence;

watch_stream_silence watch_stream_check_silence(const watch_stream *s, int64_t now_ms);

/* Makes the request of a liveness probe. Its reply may overtake events (ETCD P2), so it only shows that the stream is
 * alive. */
void watch_stream_probe(watch_stream *s, Pb__WatchRequest *request, int64_t now_ms);

void watch_stream_listen(watch_stream *s, int64_t now_ms); /* measures silence from now on */
void watch_stream_renew(watch_stream *s);                  /* doubles the time for the next stream, up to 16-fold */

/* Returns REWRITTEN: the events seen before should have come again by now, and have not. */
watch_stream_news watch_stream_miss(watch_stream *s);

/* Checks the header of any response of etcd. Returns EW_OK, or EW_ERR_BAD_ANSWER or EW_ERR_WRONG_CLUSTER with
 * `detail`. */
int watch_stream_check_header(watch_stream *s, const Pb__ResponseHeader *header);

int64_t watch_stream_after(int64_t now_ms, int64_t ms); /* now_ms + ms; INT64_MAX on overflow */

#endif
