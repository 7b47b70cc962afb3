/* Known mistakes that a test build can switch on, to prove that the simulator finds them (tests/sim). In every other
 * build EW_BUG is the constant false, and the compiler removes the code. */
#ifndef CORE_BUG_H
#define CORE_BUG_H

#include <stdbool.h>

/* name, description */
#define BUGS(X)                                                                                                        \
    X(header_revision, "events are measured by header.revision: batches of one header are dropped (ETCD P1)")          \
    X(progress_overtakes, "a requested progress reply raises the observed revision, before its events (ETCD P2)")      \
    X(fragment_is_whole, "a fragment is taken for a whole response (ETCD P3)")                                         \
    X(resume_in_revision, "a broken stream is resumed behind a revision of which only a half has come")                \
    X(resume_late,                                                                                                     \
      "a broken stream is resumed behind what was seen, and nothing shows that it is still the same history")          \
    X(watch_from_now, "the watch starts now, not behind the snapshot: what happened between is lost")                  \
    X(unpinned_pages, "the pages of a snapshot are read at different revisions")                                       \
    X(vanished_keys_stay, "a re-sync does not report keys that are gone")                                              \
    X(epoch_ignored, "a page of an earlier epoch is taken")                                                            \
    X(replay_believed, "the past, told again, is taken for news (ETCD P5)")                                            \
    X(no_barrier, "a tick does not wait for the own last commit")                                                      \
    X(early_success, "EW_FINISHED ends the run with groups undecided")                                                 \
    X(evaluated_twice, "groups at the end of a batch stay pending, and are evaluated again")                           \
    X(too_large_again, "a group over the limits is tried again for ever")                                              \
    X(waits_for_ever, "a group refused by a deletion waits for a revision that never comes")                           \
    X(reads_not_compared, "serializable groups compare only what they write")                                          \
    X(submit_not_compared, "what a submit wants to be so is looked at in the mirror, and not compared in etcd")        \
    X(record_left_out, "a submit leaves no record in etcd: who comes after its worker does not know it")               \
    X(refusal_not_recorded, "a submit is refused on the mirror alone, though a copy of it may have been committed")    \
    X(expect_is_guard, "a group that expects what its tick saw is evaluated on newer state, as if it only guarded it") \
    X(phantoms_unseen, "a group that stands on what its tick read does not notice a key that was added to a scan")     \
    X(ignored_not_undone, "what an ignored patch has changed is written")                                              \
    X(blind_retry, "a transaction whose answer was lost is done again, though its receipt says that it was applied")   \
    X(no_fence, "a refusal is believed while a copy of the transaction may still be on its way")                       \
    X(missing_is_refused, "a transaction of an unknown outcome is done again when its receipt is missing")             \
    X(standing_left_out, "transactions do not compare that the session or the leadership still stands")                \
    X(stop_forgets, "a stop reports a transaction in flight as not committed")                                         \
    X(counter_not_compared, "the delete counter is written, but not compared")                                         \
    X(held_forgotten, "a message that waits for another one is sent only if that one comes")                           \
    X(pause_kept, "a stream that was paused is not read again")                                                        \
    X(down_first, "a committer that is stopped sends DOWN before it decides its transaction")

#ifdef EW_BUGS
typedef enum bug {
    BUG_NONE,
#define BUG_MEMBER(name, help) BUG_##name,
    BUGS(BUG_MEMBER)
#undef BUG_MEMBER
} bug;
extern bug ew_bug; /* the mistake that is switched on; set by the test */
#endif

/* Coverage is not measured for these mistakes. */
#if defined(EW_BUGS) && !defined(EW_COVERAGE)
#define EW_BUG(name) (ew_bug == BUG_##name)
#else
#define EW_BUG(name) false
#endif

#endif
