/* The internals of a pulled watch, shared by its files: watch.c (the public functions, and the events that they
 * deliver), watch_run.c (the stream). */
#ifndef ETCD_WATCH_PRIVATE_H
#define ETCD_WATCH_PRIVATE_H

#include "core/watch_stream.h"
#include "etcd/revision_check.h"
#include "etcd/waiter.h"

typedef struct watch_batch {
    ew_watch_event *events; /* malloced */
    size_t count, capacity;
} watch_batch;

/* Reads the events of the news `n` (EVENTS or FULL) from revision `first` on; they point into the bytes of `n`. Skips
 * older ones: after a restore from a snapshot a watch may replay the past, and a watch that starts in the future may
 * begin too early (ETCD P5). Returns EW_OK, EW_ERR_BAD_ANSWER or EW_ERR_NO_MEMORY; on failure the batch is empty. */
int watch_batch_read(watch_batch *b, const watch_stream_news *n, int64_t first);

struct ew_watch {
    ew_client *client;
    waiter *waiter;
    Pb__WatchCreateRequest *request; /* owns what `protocol` borrows */
    etcd_stream *stream;
    watch_stream protocol;
    enum { WATCH_WAITS, WATCH_HAS_BATCH, WATCH_OVER } state; /* WATCH_OVER: it has ended with `status` and `detail` */
    int status;
    char detail[256];
    watch_batch batch; /* without events if it is a progress notification */
    int64_t revision;  /* of the batch, or the oldest one after a compaction */
    int64_t start;     /* the first revision to deliver; 0: from now on */
    bool given;        /* the batch was delivered; the user may read it until the next call */
    bool created;      /* etcd has confirmed the watch at least once */
    bool ended_by_us;  /* the stream was cancelled, because it is broken or the watch is closed */
    int64_t retry_ms;  /* when to open the stream again */
    int64_t away_ms;   /* when the user left ew_watch_next: silence since then does not count */
    int refusals;      /* refused tokens in a row */
    revision_check check;
    backoff backoff;
    atomic_bool cancelled;
};

/* Runs the watch until `*until` is true, there is something to deliver, the watch is cancelled, or the deadline has
 * passed. With a deadline in the past it still handles what is ready. */
void watch_run(ew_watch *w, int64_t deadline_ms, const bool *until);

bool watch_is_cancelled(ew_watch *w);

#endif
