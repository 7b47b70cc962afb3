/* Known mistakes that a test build can put back, to prove that the simulator finds them (tests/sim). In every other
 * build EW_BUG is the constant false, and nothing of this is left. */
#ifndef CORE_BUG_H
#define CORE_BUG_H

#include <stdbool.h>

/* name, what it does wrong */
#define BUGS(X)                                                                                                        \
    X(header_revision, "the watch advances by header.revision")                                                        \
    X(progress_overtakes, "a requested progress reply raises the observed revision")                                   \
    X(blind_retry, "a transaction whose outcome is unknown is sent again without a receipt")                           \
    X(early_tick, "a tick does not wait for the barrier")

#ifdef EW_BUGS
typedef enum bug {
    BUG_NONE,
#define BUG_MEMBER(name, help) BUG_##name,
    BUGS(BUG_MEMBER)
#undef BUG_MEMBER
} bug;
extern bug ew_bug; /* the one that is put back; the test's */
#define EW_BUG(name) (ew_bug == BUG_##name)
#else
#define EW_BUG(name) false
#endif

#endif
