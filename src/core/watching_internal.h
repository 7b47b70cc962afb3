/* The watching core's inside, shared by its files: watching.c (the life), watching_pages.c and watching_bounds.c (the
 * snapshot), watching_ahead.c (the snapshot after the watch), watching_stream.c (the watch), watching_history.c
 * (whether it is still the same history).
 *
 * Handlers only change the state. What the new state wants and is not out yet (a range call, a stream, the end) is
 * started in one place, pursue in watching.c, at the end of each step. */
#ifndef CORE_WATCHING_INTERNAL_H
#define CORE_WATCHING_INTERNAL_H

#include "core/arena.h"
#include "core/watching.h"
#include "etcd.pb-c.h"

#include <etcdworker/log.h>

/* How many keys a page is asked for: at first, and within which bounds its bytes move it. */
#define WATCHING_LIMIT_FIRST 500
#define WATCHING_LIMIT_MIN   50
#define WATCHING_LIMIT_MAX   50000

/* The most that WATCHING_LIMIT_MAX becomes while compactions interrupt every load. */
#define WATCHING_LIMIT_LARGEST 50000000

/* So many loads must have been interrupted in a row before one begins with the watch, and pages be as large as they
 * may. */
#define WATCHING_AHEAD_AFTER 3

/* How often in a row something may go wrong that a retry rarely heals. */
#define WATCHING_BAD_ANSWERS_MAX 10
#define WATCHING_DENIALS_MAX     3
#define WATCHING_FALLS_MAX       5

/* So many streams may be silent before they have shown again what was seen: then it is taken for missing. */
#define WATCHING_SILENT_MAX 2

/* A silent stream is given at most so many times silence_ms: 2 to the power of this. */
#define WATCHING_RENEWALS_MAX 4

/* Joined fragments may take this many times page_bytes, 256 MiB by default. */
#define WATCHING_JOINED_PAGES 32

struct watching {
    watching_config config;
    watching_state state;
    int64_t now_ms; /* of the step */
    uint64_t random;

    bool range_out;  /* a range call is under way */
    bool range_asks; /* and it asks for etcd's revision only, or is of a load that was given up: no page */
    bool stream_out; /* a stream is open, opening or ending */
    bool closing;    /* that stream has been told to end: whatever it still says is late */
    bool ended;      /* WATCHING_DO_END was given */

    uint64_t cluster_id; /* of the first answer */
    uint64_t epoch;
    int64_t seen;    /* the newest whole revision that was sent on: the watch goes on behind it */
    int64_t highest; /* the newest revision that any snapshot or event showed: an older snapshot is one member's (ETCD
                        P7), or etcd has lost it */

    /* The history; see watching_history.c. */
    int64_t last;         /* the newest revision whose events the watch has shown since the snapshot; 0: none */
    uint64_t last_digest; /* of these events */
    bool last_proves;     /* a put is among them: see watching_history.c */
    bool confirmed;       /* this stream has shown them again, or has nothing to show */
    bool fresh;           /* no stream has been lost since the snapshot was read in one go */
    bool rewritten;       /* the next whole snapshot is of another history */
    int64_t loaded_at_ms;

    /* The snapshot under way. */
    int64_t pinned; /* its revision; 0 before its first page */
    int64_t limit;
    int64_t limit_max; /* WATCHING_LIMIT_MAX, and page_bytes the configured one, unless loads are interrupted */
    int64_t page_bytes;
    int64_t key_bytes;    /* about, of one key of the last page; 0: not known */
    unsigned interrupted; /* loads in a row that a compaction interrupted */
    uint8_t *next_key;    /* where the next page starts */
    size_t next_len;      /* 0 for the first page */
    uint8_t *bound;       /* where it ends, before the whole range does; see watching_bounds.c */
    size_t bound_len;     /* 0: at the range's end */
    size_t level;         /* the bound is behind all keys that share so many bytes with next_key; 0: none */
    int64_t left;         /* about how many keys are still to come */
    bool from_bound;      /* the page starts where the one before was bounded */
    bool unfinished;      /* all pages have been sent, and their end waits for the watch */
    bool unproved;        /* their end was sent, and the watch after them has shown nothing so far */

    /* The load that begins with the watch; see watching_ahead.c. */
    bool ahead;         /* the load under way, or the next one, is such a one */
    bool never_ahead;   /* the prefix is too large for it */
    int64_t ahead_from; /* etcd's revision when the watch was made */
    uint8_t *kept;      /* what the watch has shown meanwhile: a WatchResponse */
    size_t kept_len, kept_capacity;
    bool kept_sent; /* the step before sent `kept`: it is free now */

    /* The watch. */
    uint64_t opens;
    bool created;   /* etcd confirmed it */
    bool connected; /* what was told last: stays while a silent stream is replaced */
    int64_t watch_id;
    int64_t created_at_ms;
    bool asked;        /* for a sign of life */
    unsigned renewals; /* streams left for their silence, one after the other */
    uint8_t *joined;
    size_t joined_len, joined_capacity;
    int64_t joined_revision;
    bool joined_sent; /* the step before sent `joined`: it is free now */

    /* What went wrong since something last went well. */
    unsigned failures, resyncs, bad_answers, falls;
    unsigned denials;  /* calls and streams that were not authenticated */
    unsigned refusals; /* watches that were not permitted, though range calls were */
    int64_t retry_at_ms;
    int64_t silence_at_ms;

    int end_status;
    char end_detail[256];
    uint8_t *request; /* the last one packed */
    size_t request_capacity;
    char texts[WATCHING_EFFECTS_MAX][256]; /* of the log effects, one for each place in the list */
};

/* ---- watching.c ---- */

watching_effect *watching_emit(watching_effects *out, watching_effect_type type);
void watching_say(watching *w, watching_effects *out, ew_log_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void watching_move(watching *w, watching_effects *out, watching_state next);
void watching_fail(watching *w, watching_effects *out, int status, const char *detail);

/* A call, a stream or an answer went wrong: whether and how to go on follows from `status` alone. */
void watching_trouble(watching *w, watching_effects *out, int status, const char *detail);

/* All that was asked for has been read. */
void watching_finish(watching *w, watching_effects *out);

/* Loads the prefix anew, under a new epoch. */
void watching_resync(watching *w, watching_effects *out, const char *why);

/* Etcd answers sensibly: forget what went wrong. */
void watching_settle(watching *w);

int64_t watching_after(int64_t now_ms, int64_t ms);

/* Packs a request, valid until the next one; false (and FAILED) when out of memory. */
bool watching_pack(watching *w, watching_effects *out, const ProtobufCMessage *message, ew_slice *bytes);

/* Unpacks an answer into `memory`. NULL when it is malformed or memory ran out, which has been dealt with then. */
void *watching_unpack(watching *w, watching_effects *out, arena *memory, const ProtobufCMessageDescriptor *type,
                      ew_slice bytes);

bool watching_revision_ok(int64_t revision);

/* The wait before try number `tries` + 2. */
int64_t watching_backoff_ms(watching *w, unsigned tries);

/* Whether an answer's header can be: if not, that has been dealt with. */
bool watching_header_ok(watching *w, watching_effects *out, const Pb__ResponseHeader *header);

/* ---- watching_pages.c ---- */

void watching_start_pages(watching *w);
void watching_send_range(watching *w, watching_effects *out);
void watching_take_page(watching *w, const watching_event *event, watching_effects *out);
void watching_compacted(watching *w, watching_effects *out, const char *why); /* what is loaded or watched is gone */
void watching_reset_pages(watching *w);                                       /* to their configured size */
void watching_finish_snapshot(watching *w, watching_effects *out); /* the watch stands: tells the end of the pages */
bool watching_shrink_page(watching *w, watching_effects *out);     /* false if it cannot be smaller */

/* A page did not come in time: if pages had grown, loads again with pages of the configured size. False if not. */
bool watching_page_is_late(watching *w, watching_effects *out);

/* ---- watching_bounds.c ---- */

bool watching_set_bound(watching *w); /* for the next page; false when out of memory */
void watching_learn_bound(watching *w, const Pb__RangeResponse *page);
bool watching_is_behind_range(const watching *w, ew_slice key);

/* ---- watching_ahead.c ---- */

/* The next load begins with the watch, unless the prefix was found to be too large for that. */
void watching_go_ahead(watching *w);

/* It is: loads in pages again. */
void watching_not_ahead(watching *w, watching_effects *out, const char *why);

void watching_keep(watching *w, ew_slice events, watching_effects *out); /* of the watch, until the snapshot is there */
void watching_drop_kept(watching *w);
const char *watching_ahead_is_wrong(const watching *w, const Pb__RangeResponse *page); /* why, or NULL */
void watching_ahead_done(watching *w, watching_effects *out);                          /* the snapshot is there */

/* ---- watching_history.c ---- */

/* The response is whole, and the newest of its events, at `revision`, begin at `newest`: they may have to come again.
 */
void watching_keep_last(watching *w, ew_slice newest, int64_t revision);

/* A stream that is resumed gives `bytes`, whole and with events: true once all that was seen has come again. Otherwise
 * it is still to come, or the history is another one, which has been dealt with. */
bool watching_confirm(watching *w, ew_slice bytes, watching_effects *out);

/* All that was seen should have come again by now, and has not. */
void watching_miss_last(watching *w, watching_effects *out);

/* Etcd's history is not the one that was seen: loads the prefix again. */
void watching_find_rewritten(watching *w, watching_effects *out, const char *why);

/* A linearizable read was answered at `revision`, which is below what was seen. */
void watching_fall(watching *w, watching_effects *out, int64_t revision);

/* A response says `revision`, which is below what was seen: leaves the stream and asks etcd. */
void watching_doubt(watching *w, watching_effects *out, int64_t revision);
void watching_ask(watching *w, watching_effects *out);
void watching_take_revision(watching *w, const watching_event *event, watching_effects *out);

/* ---- watching_stream.c ---- */

void watching_open(watching *w, watching_effects *out);
watching_effect *watching_send_health(watching *w, watching_effects *out, bool connected);
void watching_drop(watching *w, watching_effects *out); /* leave the stream, whatever it is doing */
void watching_take_response(watching *w, const watching_event *event, watching_effects *out);
void watching_forget_sent(watching *w); /* what the step before lent to its effects */
void watching_check_silence(watching *w, watching_effects *out);
void watching_read_on(watching *w);

/* The watch stands, and is known to go on where the one before it ended; or only the keys can tell. */
void watching_tell_connected(watching *w, watching_effects *out, bool unsure);
void watching_send_kept(watching *w, ew_slice events, watching_effects *out);

#endif
