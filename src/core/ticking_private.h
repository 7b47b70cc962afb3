/* Shared by the files of the ticking core. Each file has a type of its own, which is a member of `struct ticking`.
 * Only that file touches the fields of the member; the others call its functions. A file calls itself and the files
 * above it in this list, never one below it; tests/lint/ticking.sh checks both rules. The types are in
 * ticking_types.h.
 *
 *   file                  member    what it decides
 *   ticking_queue.c                 a queue of changes of keys
 *   ticking_cache.c       cache     the cache, its revisions, and the delete counter
 *   ticking_effects.c     output    the effects of the current step
 *   ticking_run.c         run       the state, and why the run ends
 *   ticking_page.c                  a page of keys from etcd
 *   ticking_check.c       check     consistency checks: the cache compared with etcd
 *   ticking_sync.c        sync      whether the cache is complete, and messages that break the protocol
 *   ticking_updates.c     updates   what the reactor has not seen yet
 *   ticking_changes.c     changes   changes of the cache: applied at once, or one revision per tick
 *   ticking_history.c     history   the barrier, and signs that the cache is wrong
 *   ticking_submits.c     submits   groups from other applications
 *   ticking_groups.c      groups    pending groups: evaluation, commit, outcomes, the end
 *   ticking_ticks.c       ticks     when a tick is due, and its result
 *   ticking_load.c        load      snapshots: the first load, and reloads in place
 *   ticking_events.c                events and progress of the watch
 *   ticking.c                       creation and steps
 *
 * All files read `config`, `scope` and `now_ms`, which ticking.c sets, and update their counters in `stats`. */
#ifndef CORE_TICKING_PRIVATE_H
#define CORE_TICKING_PRIVATE_H

#include "core/ticking_types.h"
#include "etcd.pb-c.h"

#include <etcdworker/log.h>

/* ---- ticking_queue.c ---- */

bool ticking_queue_is_empty(const ticking_queue *q);
int64_t ticking_queue_revision(const ticking_queue *q);                              /* of the first change */
bool ticking_queue_push(ticking_queue *q, cache_entry *e, ticking_change_kind kind); /* adds a reference; false when
                                                                                         out of memory */
ticking_change ticking_queue_pop(ticking_queue *q);                                  /* the reference is the caller's */
void ticking_queue_drop(ticking_queue *q);
size_t ticking_queue_bytes(const ticking_queue *q); /* the entries and their places in the queue */

/* ---- ticking_cache.c ---- */

bool ticking_cache_init(ticking *t); /* drops the old contents; false when out of memory */
void ticking_cache_fini(ticking *t);
cache *ticking_get_cache(const ticking *t);
int64_t ticking_observed(const ticking *t);
int64_t ticking_received(const ticking *t);
void ticking_observe(ticking *t, int64_t revision);      /* at most what was received */
void ticking_receive(ticking *t, int64_t revision);      /* at least what was received before */
void ticking_set_revision(ticking *t, int64_t revision); /* observed and received: may fall */

int64_t ticking_counter(const ticking *t);
int64_t ticking_counter_revision(const ticking *t);
bool ticking_is_counter(const ticking *t, ew_slice key);
bool ticking_set_counter(ticking *t, ew_slice value, int64_t revision); /* false if it is corrupt */
void ticking_reset_counter(ticking *t, int64_t revision);               /* it is absent */

/* ---- ticking_effects.c ---- */

void ticking_drop_texts(ticking *t);
bool ticking_output_open(ticking *t, ticking_effects *out, size_t count); /* for `count` effects; false when out of
                                                                             memory */
void ticking_output_close(ticking *t);
ticking_effect *ticking_emit(ticking *t, ticking_effect_type type);
void ticking_reply(ticking *t, uint64_t submit_id, int status, int64_t revision, const char *detail);
void ticking_log(ticking *t, ew_log_level level, const char *text); /* `text` must be constant */
void ticking_log_text(ticking *t, ew_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- ticking_run.c ---- */

void ticking_move(ticking *t, ticking_state to);
bool ticking_batch_is_out(const ticking *t);
void ticking_end(ticking *t, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void ticking_no_memory(ticking *t);
bool ticking_is_ending(const ticking *t);
void ticking_set_finished(ticking *t, bool finished); /* the last tick returned EW_FINISHED, and its groups can still
                                                         be committed */
bool ticking_is_finished(const ticking *t);
void ticking_leave(ticking *t, bool decided); /* ends the run now; `decided`: with success if the reactor finished */

/* ---- ticking_page.c ---- */

/* Passes each key of a page (a RangeResponse) to `accept`, until the run ends. Returns false if the page is
 * malformed, does not continue the pages before it, or contains a key that `accept` does not take. */
bool ticking_read_page(ticking *t, ew_slice page, ticking_last_key *last,
                       bool (*accept)(ticking *t, ew_slice key, const Pb__KeyValue *kv));

/* ---- ticking_check.c ---- */

void ticking_check_init(ticking *t);
void ticking_check_fini(ticking *t);
int64_t ticking_check_due_ms(const ticking *t);
void ticking_take_check_time(ticking *t);
int64_t ticking_check_revision(const ticking *t); /* of the running check; 0: none is running */
uint64_t ticking_check_number(const ticking *t);
void ticking_take_checked(ticking *t, const Msg__Checked *a);
void ticking_note_deletion(ticking *t, ew_slice key, int64_t revision);
void ticking_want_check(ticking *t); /* a check is due now */
void ticking_set_unsure(ticking *t); /* about the history up to the received revision, see `unsure_revision` */
bool ticking_is_unsure(const ticking *t);
void ticking_drop_check(ticking *t);                                   /* the next check follows after an interval */
void ticking_check_loaded(ticking *t);                                 /* a snapshot replaces a consistency check */
void ticking_load_again(ticking *t, int64_t revision, bool rewritten); /* the cache is wrong */

/* ---- ticking_sync.c ---- */

bool ticking_is_loaded(const ticking *t);
bool ticking_is_breached(const ticking *t);
bool ticking_is_synced(const ticking *t);
uint64_t ticking_epoch(const ticking *t);
bool ticking_epoch_holds(ticking *t, uint64_t epoch, const char *message); /* false: the message is dropped */
void ticking_note_page(ticking *t);
void ticking_load_begins(ticking *t, uint64_t epoch);
void ticking_load_ends(ticking *t);

/* Handles a breach: a message that contradicts the protocol. The text names the message and the field. `outcome`: the
 * outcome of the batch in flight may be lost with the message. */
void ticking_breach(ticking *t, bool outcome, const char *format, ...) __attribute__((format(printf, 3, 4)));
void ticking_breach_stale(ticking *t, const char *message, uint64_t epoch); /* drops the message */

/* ---- ticking_updates.c ---- */

void ticking_queue_update(ticking *t, cache_entry *e, ticking_change_kind kind);
void ticking_want_tick(ticking *t);
bool ticking_tick_is_wanted(const ticking *t);
size_t ticking_update_bytes(const ticking *t);
void ticking_drop_updates(ticking *t); /* from now on changes are shown one by one */
void ticking_show_reset(ticking *t);
bool ticking_show_begin(ticking *t); /* returns whether the reactor is reset */
void ticking_show_end(ticking *t);

/* ---- ticking_changes.c ---- */

void ticking_put_change(ticking *t, cache_entry *old, const ew_entry *now, bool initial); /* replaces `old` */
void ticking_delete_change(ticking *t, cache_entry *e, int64_t revision);
void ticking_counter_change(ticking *t, ew_slice value, int64_t revision); /* ends the run if the counter is corrupt */
void ticking_take_change(ticking *t, const ew_entry *now, bool deleted);
void ticking_pass_revision(ticking *t, int64_t revision); /* no key has changed up to `revision` */
bool ticking_changes_wait(const ticking *t);
size_t ticking_change_bytes(const ticking *t); /* size of the waiting changes */
void ticking_apply_revision(ticking *t);       /* applies the changes of the next waiting revision */
void ticking_apply_all(ticking *t);
void ticking_drop_changes(ticking *t);

/* ---- ticking_history.c ---- */

void ticking_history_init(ticking *t);
int64_t ticking_barrier(const ticking *t);
bool ticking_barrier_is_open(const ticking *t);
void ticking_note_commit(ticking *t, int64_t barrier_revision);
int64_t ticking_doubt_due_ms(const ticking *t); /* when the next consistency check is due, or when a watch that does
                                                   not show the barrier revision has used up its time */
void ticking_take_doubt_time(ticking *t);
void ticking_take_health(ticking *t, uint64_t epoch, const Msg__Health *h);
void ticking_history_loaded(ticking *t, int64_t revision, bool rewritten);

/* Handles the refusal of a batch that was evaluated on revision `base`. `refusals` counts refusals in a row. Returns
 * false if the cache has been loaded since that evaluation. */
bool ticking_doubt_refusal(ticking *t, const Msg__Outcome *o, int64_t base, uint32_t refusals);

/* ---- ticking_submits.c ---- */

void ticking_submits_fini(ticking *t);
void ticking_take_submit(ticking *t, uint64_t id, const Msg__Submit *s);
bool ticking_submits_wait(const ticking *t);
uint32_t ticking_submit_count(const ticking *t);
void ticking_take_waiting(ticking *t, group_list *list); /* appends them to `list` */
void ticking_answer_submit(ticking *t, const ew_group *g, int status, int64_t revision, const char *detail);
int ticking_abandoned_status(bool has_identity);
bool ticking_submit_is_known(const ew_group *g, ticking_outcome *out); /* it was decided before by a copy of it, or
                                                                          by a later submit */
void ticking_prepare_submit(ticking *t, ew_group *g);                  /* makes the record before the evaluation */
void ticking_note_decision(const ew_group *g, int status, int64_t revision);
void ticking_submit_committed(ticking *t, const ew_group *g, int64_t revision, ticking_outcome *out);

/* Takes the clients' records of an outcome. Returns whether it had any. `pending` is the batch's first group. */
bool ticking_learn_records(ticking *t, const Msg__Outcome *o, const evaluate_patches *batch, const ew_group *pending);

/* ---- ticking_groups.c ---- */

void ticking_groups_init(ticking *t);
void ticking_groups_fini(ticking *t); /* drops all groups; those of a batch in flight may have been written */
bool ticking_groups_pend(const ticking *t);
void ticking_add_groups(ticking *t, group_list *made);
void ticking_give_up(ticking *t); /* drops all groups, and the submits that wait */
int64_t ticking_evaluate_due_ms(const ticking *t);
void ticking_evaluate(ticking *t);
void ticking_evaluate_first(ticking *t); /* the first evaluation of the groups of a tick */
void ticking_take_outcome(ticking *t, const Msg__Outcome *o);
void ticking_lose_outcome(ticking *t); /* handles the loss of the batch's outcome */
void ticking_groups_loaded(ticking *t);

/* ---- ticking_ticks.c ---- */

void ticking_start_timer(ticking *t);
int64_t ticking_work_due_ms(const ticking *t); /* when the next tick or evaluation is due */
void ticking_take_work_time(ticking *t);
void ticking_take_ticked(ticking *t, const ticking_event *event);
void ticking_abandon_tick(ticking *t); /* makes its groups pending */

/* ---- ticking_load.c ---- */

void ticking_load_fini(ticking *t);
void ticking_take_snapshot(ticking *t, uint64_t epoch, const Msg__Snapshot *s);

/* ---- ticking_events.c ---- */

void ticking_take_events(ticking *t, uint64_t epoch, const Msg__Events *e);
void ticking_take_progress(ticking *t, uint64_t epoch, const Msg__Progress *p);

#endif
