/* The internals of the watching core, shared by its files: watching.c (creation, steps, transitions), watching_pages.c
 * and watching_bounds.c (the snapshot), watching_ahead.c (the snapshot after the watch), watching_stream.c (the watch),
 * watching_history.c (whether the history is still the same).
 *
 * Handlers only change the state. At the end of each step one function, pursue in watching.c, starts what the new state
 * needs and is not running yet (a range call, a stream, the end). */
#ifndef CORE_WATCHING_INTERNAL_H
#define CORE_WATCHING_INTERNAL_H

#include "core/arena.h"
#include "core/watch_stream.h"
#include "core/watching.h"
#include "etcd.pb-c.h"

#include <etcdworker/log.h>

/* How many keys a page is asked for: at first, and the limits between which this is adapted to page_bytes. */
#define WATCHING_LIMIT_FIRST 500
#define WATCHING_LIMIT_MIN   50
#define WATCHING_LIMIT_MAX   50000

/* The most to which WATCHING_LIMIT_MAX grows while compactions interrupt every load. */
#define WATCHING_LIMIT_LARGEST 50000000

/* A load begins with the watch after this many loads in a row were interrupted, and pages have reached their maximum
 * size. */
#define WATCHING_AHEAD_AFTER 3

/* How many times in a row an error may occur that a retry rarely resolves. */
#define WATCHING_BAD_ANSWERS_MAX 10
#define WATCHING_DENIALS_MAX     3
#define WATCHING_FALLS_MAX       5

/* Merged fragments may have this many times page_bytes, 256 MiB by default. */
#define WATCHING_JOINED_PAGES 32

struct watching {
    watching_config config;
    watching_state state;
    int64_t now_ms; /* of the step */
    uint64_t random;

    bool range_out;  /* a range call is in flight */
    bool range_asks; /* it asks only for etcd's revision, or belongs to a cancelled load: not a page */
    bool stream_out; /* a stream is open, opening or ending */
    bool closing;    /* the stream was cancelled: what still arrives is dropped */
    bool ended;      /* WATCHING_DO_END was given */

    watch_stream stream; /* `seen`: the newest whole revision that was sent on; the watch continues after it. `last` is
                            of the events since the snapshot */
    uint64_t epoch;
    int64_t highest; /* the newest revision in any snapshot or event: an older snapshot comes from a member that is
                        behind (ETCD P7), or etcd has lost data */
    bool fresh;      /* no stream has been lost since the snapshot was read without interruption */
    bool rewritten;  /* the next whole snapshot is of another history */
    int64_t loaded_at_ms;

    /* The current snapshot. */
    int64_t pinned; /* its revision; 0 before its first page */
    int64_t limit;
    int64_t limit_max; /* WATCHING_LIMIT_MAX, and page_bytes is the configured one, unless loads are interrupted */
    int64_t page_bytes;
    int64_t key_bytes;    /* approximate size of one key of the last page; 0: unknown */
    unsigned interrupted; /* loads in a row that a compaction interrupted */
    buffer next;          /* where the next page begins; empty for the first page */
    buffer bound;         /* where it ends; empty: at the end of the whole range; see watching_bounds.c */
    size_t level;         /* the bound is after all keys that share this many bytes with `next`; 0: none */
    int64_t left;         /* approximate number of keys still to come */
    bool from_bound;      /* the page begins at the bound of the previous one */
    bool unfinished;      /* all pages have been sent, and their end waits for the watch */
    bool unproved;        /* their end was sent, and the watch has shown nothing yet */

    /* The load that begins with the watch; see watching_ahead.c. */
    bool ahead;         /* the current load, or the next one, is of this kind */
    bool never_ahead;   /* the prefix is too large for this */
    int64_t ahead_from; /* etcd's revision when the watch was created */
    buffer kept;        /* what the watch has shown meanwhile: a WatchResponse */
    bool kept_sent;     /* the previous step sent `kept`: it can be freed now */

    /* The watch. */
    uint64_t opens;
    bool connected; /* as last reported: unchanged while a silent stream is replaced */
    int64_t created_at_ms;

    /* Errors since the last success. */
    unsigned failures, resyncs, bad_answers, falls;
    unsigned denials;  /* calls and streams that were not authenticated */
    unsigned refusals; /* watches that were not permitted although range calls were */
    int64_t retry_at_ms;

    int end_status;
    char end_detail[256];
    buffer request;                        /* the last packed request */
    char texts[WATCHING_EFFECTS_MAX][256]; /* of the log effects, one for each index in the list */
};

/* ---- watching.c ---- */

watching_effect *watching_emit(watching_effects *out, watching_effect_type type);
void watching_say(watching *w, watching_effects *out, ew_log_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void watching_move(watching *w, watching_effects *out, watching_state next);
void watching_fail(watching *w, watching_effects *out, int status, const char *detail);

/* Handles the failure of a call, stream or response: `status` alone determines whether and how to continue. */
void watching_trouble(watching *w, watching_effects *out, int status, const char *detail);

/* All that was requested has been read. */
void watching_finish(watching *w, watching_effects *out);

/* Loads the prefix again, in a new epoch. */
void watching_resync(watching *w, watching_effects *out, const char *why);

/* Resets the error counters after a valid response. */
void watching_settle(watching *w);

/* Packs a request, valid until the next one; false (and FAILED) when out of memory. */
bool watching_pack(watching *w, watching_effects *out, const ProtobufCMessage *message, ew_slice *bytes);

/* Unpacks a response into `memory`. NULL when it is malformed or memory ran out, which has then been handled. */
void *watching_unpack(watching *w, watching_effects *out, arena *memory, const ProtobufCMessageDescriptor *type,
                      ew_slice bytes);

/* Returns the wait before attempt number `tries` + 2. */
int64_t watching_backoff_ms(watching *w, unsigned tries);

/* Returns whether a response's header is valid; if not, this has been handled. */
bool watching_header_ok(watching *w, watching_effects *out, const Pb__ResponseHeader *header);

/* ---- watching_pages.c ---- */

void watching_start_pages(watching *w);
void watching_send_range(watching *w, watching_effects *out);
void watching_take_page(watching *w, const watching_event *event, watching_effects *out);
void watching_compacted(watching *w, watching_effects *out, const char *why); /* what is loaded or watched has been
                                                                                 compacted */
void watching_reset_pages(watching *w);                                       /* to their configured size */
void watching_finish_snapshot(watching *w, watching_effects *out); /* the watch exists: sends the end of the pages */
bool watching_shrink_page(watching *w, watching_effects *out);     /* false if it cannot be smaller */

/* A page did not come in time. If pages had grown, loads again with pages of the configured size; otherwise returns
 * false. */
bool watching_page_is_late(watching *w, watching_effects *out);

/* ---- watching_bounds.c ---- */

bool watching_set_bound(watching *w); /* for the next page; false when out of memory */
void watching_learn_bound(watching *w, const Pb__RangeResponse *page);

/* ---- watching_ahead.c ---- */

/* Makes the next load begin with the watch, unless the prefix was found to be too large for that. */
void watching_go_ahead(watching *w);

/* The prefix is too large: loads in pages again. */
void watching_not_ahead(watching *w, watching_effects *out, const char *why);

void watching_keep(watching *w, ew_slice events, watching_effects *out); /* keeps events of the watch until the snapshot
                                                                            is complete */
void watching_drop_kept(watching *w);
const char *watching_ahead_is_wrong(const watching *w, const Pb__RangeResponse *page); /* returns the reason, or NULL */
void watching_ahead_done(watching *w, watching_effects *out);                          /* the snapshot is complete */

/* ---- watching_history.c ---- */

/* etcd's history is not the one that was seen: loads the prefix again. */
void watching_find_rewritten(watching *w, watching_effects *out, const char *why);

/* A linearizable read returned `revision`, which is below what was seen. */
void watching_fall(watching *w, watching_effects *out, int64_t revision);

/* A response has `revision`, which is below what was seen: cancels the stream and asks etcd. */
void watching_doubt(watching *w, watching_effects *out, int64_t revision);
void watching_ask(watching *w, watching_effects *out);
void watching_take_revision(watching *w, const watching_event *event, watching_effects *out);

/* ---- watching_stream.c ---- */

void watching_open(watching *w, watching_effects *out);
watching_effect *watching_send_health(watching *w, watching_effects *out, bool connected);
void watching_drop(watching *w, watching_effects *out); /* cancel the stream in any state */
void watching_take_response(watching *w, const watching_event *event, watching_effects *out);
void watching_check_silence(watching *w, watching_effects *out);

/* The watch exists, and continues where the previous one ended; or only the keys can show this. */
void watching_tell_connected(watching *w, watching_effects *out, bool unsure);
void watching_send_events(watching *w, const watch_stream_news *news, watching_effects *out);

#endif
