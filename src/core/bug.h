/* Bugs that a test build can switch on, to show that the simulator finds them (tests/sim). In every other build EW_BUG
 * is the constant false, and the compiler removes the code. */
#ifndef CORE_BUG_H
#define CORE_BUG_H

#include <stdbool.h>

/* name, description */
#define BUGS(X)                                                                                                        \
    X(header_revision,                                                                                                 \
      "the position of the watch is header.revision: later batches of one header are dropped (ETCD P1)")               \
    X(progress_overtakes, "a requested progress reply raises the observed revision before its events (ETCD P2)")       \
    X(fragment_is_whole, "a fragment is handled as a whole response (ETCD P3)")                                        \
    X(resume_in_revision, "a broken stream is resumed after a revision of which only a part was received")             \
    X(resume_late,                                                                                                     \
      "a broken stream is resumed after the last revision seen: nothing shows that the history is the same")           \
    X(watch_from_now, "the watch starts at the present, not after the snapshot: changes in between are lost")          \
    X(unpinned_pages, "the pages of a snapshot are read at different revisions")                                       \
    X(vanished_keys_stay, "a load after the first one does not report deleted keys")                                   \
    X(epoch_ignored, "a page of an earlier epoch is applied")                                                          \
    X(replay_believed, "replayed events are handled as new ones (ETCD P5)")                                            \
    X(no_barrier, "a tick does not wait for the worker's last commit")                                                 \
    X(early_success, "EW_FINISHED ends the run while groups are undecided")                                            \
    X(evaluated_twice, "groups at the end of a batch stay pending, and are evaluated again")                           \
    X(too_large_again, "a group above the limits is evaluated again without end")                                      \
    X(waits_for_ever, "a group that is refused because of a deletion waits for a revision that never comes")           \
    X(reads_not_compared, "with serializable isolation, a group compares only the keys that it writes")                \
    X(submit_not_compared, "the compares of a submit are checked against the cache, but not in etcd")                  \
    X(record_left_out, "a submit puts no record in etcd: another worker does not recognise a repeat")                  \
    X(refusal_not_recorded, "a submit is refused by the cache alone, although a copy of it may be committed")          \
    X(expect_is_guard, "an expectation is handled as a guard: the group is evaluated on newer state")                  \
    X(phantoms_unseen, "a group that expects its reads does not notice a key that was added to a scanned range")       \
    X(ignored_not_undone, "the changes of an ignored patch are written")                                               \
    X(blind_retry,                                                                                                     \
      "a transaction whose response was lost counts as refused, although its receipt shows that it was applied")       \
    X(no_fence, "a refusal counts as final while a copy of the transaction may still arrive")                          \
    X(missing_is_refused, "a transaction with an unknown outcome is sent again if its receipt is missing")             \
    X(fence_left_out, "transactions do not compare that the session and the leadership still exist")                   \
    X(stop_forgets, "a stop reports a transaction in flight as not committed")                                         \
    X(counter_not_compared, "the delete counter is written, but not compared")                                         \
    X(held_forgotten, "a message that is held for piggybacking is sent only if the other message comes")               \
    X(pause_kept, "a paused stream is not read again")                                                                 \
    X(down_first, "a stopped committer sends DOWN before its transaction is decided")                                  \
    X(down_not_awaited, "a run ends before its watcher and committer are down")                                        \
    X(session_unnoticed, "a worker whose session has ended goes on")                                                   \
    X(receipt_unclaimed, "a worker begins without having put its receipt")

#ifdef EW_BUGS
typedef enum bug {
    BUG_NONE,
#define BUG_MEMBER(name, help) BUG_##name,
    BUGS(BUG_MEMBER)
#undef BUG_MEMBER
} bug;
extern bug ew_bug; /* the bug that is switched on; set by the test */
#endif

/* Coverage is not measured for these bugs. */
#if defined(EW_BUGS) && !defined(EW_COVERAGE)
#define EW_BUG(name) (ew_bug == BUG_##name)
#else
#define EW_BUG(name) false
#endif

#endif
