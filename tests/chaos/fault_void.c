/* For the tests of the harness: two that are none, which it must call void, and one that ends what it says it does not.
 */
#include "chaos/fault.h"

static void nothing(injection *i) {
    i->targets = ALL_WORKERS;
    fault_healed(i);
    fault_missed(i, "it is none");
}

static const char *const nowhere[] = {"endpoints=127.0.0.1:1", "start_timeout_ms=1000", NULL};

static const char *const fenced[] = {"fence_session=on", NULL};

const fault faults_of_tests[] = {
    {"nothing", ON_ONE, ENDS_NOTHING, NULL, nothing, "does not hit"},
    {"no-load", ON_ONE, ENDS_NOTHING, nowhere, nothing, "on workers that have no etcd"},
    {"session-taken", ON_ONE, ENDS_NOTHING, fenced, fault_end_session, "a session ends for no reason that it gives"},
    {NULL},
};
