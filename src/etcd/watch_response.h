/* Reads the messages of a watch stream: classifies them, joins fragments, and checks them (ETCD P1 to P10). Pure: no
 * I/O, no clock. */
#ifndef ETCD_WATCH_RESPONSE_H
#define ETCD_WATCH_RESPONSE_H

#include "etcd/blocking.h"

typedef enum watch_news {
    WATCH_NOTHING,  /* an incomplete batch, or a message without effect */
    WATCH_CREATED,  /* etcd has created the watch */
    WATCH_EVENTS,   /* a batch of whole revisions; if `cut`, the caller must open the stream again */
    WATCH_PROGRESS, /* there are no further events up to `revision` */
    WATCH_BROKEN,   /* open the stream again; `status` and `detail` say why */
    WATCH_DOUBTED,  /* a member's revision is below `seen`: check whether etcd lost it; if not, open the stream again */
    WATCH_OVER,     /* the watch has ended; `status` and `detail` say why */
} watch_news;

typedef struct watch_reader {
    /* State of the stream; `created` is false for a new stream. */
    bool created;
    int64_t watch_id;
    bool unconfirmed; /* the last delivered events must arrive first, unchanged */
    bool asked;       /* a liveness probe was sent; its reply must not arrive before these events */

    int64_t next_revision; /* the first revision that was not delivered; 0: "from now on", before the first message */
    int64_t revision;      /* of the batch or the progress, or the oldest revision after a compaction */
    int64_t seen;          /* the newest revision that etcd is known to have had; 0: none */
    int64_t last;          /* the newest revision whose events were delivered; 0: none, or compacted since */
    uint64_t last_digest;  /* digest of the events of `last` */
    uint64_t cluster_id;   /* the expected cluster; 0: the cluster of the first message */
    int status;
    char detail[256];
    int64_t max_bytes; /* limit of a batch's fragments; a larger batch is cut after a whole revision */
    int64_t bytes;
    bool cut;
    Pb__WatchResponse **parts; /* the fragments of the batch */
    size_t part_count, part_capacity;
    ew_watch_event *events;
    size_t event_count, event_capacity;
} watch_reader;

/* Prepares for a new stream; returns its start revision. */
int64_t watch_reader_begin(watch_reader *r);

/* Ends the watch because the last delivered events did not arrive again. */
watch_news watch_reader_miss(watch_reader *r);

/* Handles one message of the stream. */
watch_news watch_reader_take(watch_reader *r, ew_slice bytes);

/* Returns whether a new attempt would fail in the same way: etcd refuses the request, or the response is larger than
 * max_receive_bytes. */
bool watch_is_final(int status);

/* Ends the watch for a reason outside the stream. */
watch_news watch_reader_end(watch_reader *r, int status, const char *detail);

/* Drops the batch: after use, or when a stream ended before the batch was complete. */
void watch_reader_clear(watch_reader *r);
void watch_reader_fini(watch_reader *r);

#endif
