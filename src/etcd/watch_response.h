/* What a watch stream says, message by message: told apart, joined and checked (ETCD P1 to P10). Pure. */
#ifndef ETCD_WATCH_RESPONSE_H
#define ETCD_WATCH_RESPONSE_H

#include "etcd/blocking.h"

typedef enum watch_news {
    WATCH_NOTHING,  /* not whole yet, or nothing that matters */
    WATCH_CREATED,  /* the watch is made */
    WATCH_EVENTS,   /* a batch of whole revisions; if `cut`, the stream is of no more use: open it again */
    WATCH_PROGRESS, /* nothing has happened up to `revision` */
    WATCH_BROKEN,   /* open it again: `status` and `detail` say why */
    WATCH_DOUBTED,  /* a member is below what was given: ask etcd whether it has lost that, and open it again if not */
    WATCH_OVER,     /* for good: `status` and `detail` */
} watch_news;

typedef struct watch_reader {
    /* Of the stream; a new one starts with `created` false. */
    bool created;
    int64_t watch_id;
    bool unconfirmed; /* what was given last must come again first, as it was */
    bool asked;       /* for a sign of life, which may not come before that */

    int64_t next_revision; /* the first that has not been given; 0 before the first answer of a watch from now on */
    int64_t revision;      /* of the batch, of the progress, or the oldest that a compaction left */
    int64_t seen;          /* the newest revision that etcd is known to have had; 0: none */
    int64_t last;          /* the newest whose events were given; 0: none, or compacted since */
    uint64_t last_digest;  /* of these events */
    uint64_t cluster_id;   /* the only one that is believed; 0: that of the first answer */
    int status;
    char detail[256];
    int64_t max_bytes; /* of fragments, as they came; what goes beyond is cut behind a whole revision */
    int64_t bytes;
    bool cut;
    Pb__WatchResponse **parts; /* the fragments of the batch */
    size_t part_count, part_capacity;
    ew_watch_event *events;
    size_t event_count, event_capacity;
} watch_reader;

/* A stream is about to be opened: from where. */
int64_t watch_reader_begin(watch_reader *r);

/* What was given last should have come again by now. */
watch_news watch_reader_miss(watch_reader *r);

/* One message of the stream. */
watch_news watch_reader_take(watch_reader *r, ew_slice bytes);

/* Whether trying again would only be told the same: what etcd refuses, and an answer that does not fit into
 * max_receive_bytes. */
bool watch_is_final(int status);

/* Ends it for a reason that the stream does not know. */
watch_news watch_reader_end(watch_reader *r, int status, const char *detail);

/* Gives up the batch, when it has been used or when a stream ended in the middle of it. */
void watch_reader_clear(watch_reader *r);
void watch_reader_fini(watch_reader *r);

#endif
