/* For the tests of the harness: a fault that does nothing, and one on workers without load, both of which the harness
 * must reject as void; and one that ends a session although it declares that it ends nothing. */
#include "chaos/fault.h"

static void nothing(injection *i) {
    i->targets = ALL_WORKERS;
    fault_healed(i);
    fault_missed(i, "this fault does nothing");
}

static const char *const nowhere[] = {"endpoints=127.0.0.1:1", "start_timeout_ms=1000", NULL};

static const char *const fenced[] = {"fence_session=on", NULL};

const fault faults_of_tests[] = {
    {"nothing", ON_ONE, ENDS_NOTHING, NULL, nothing, "does nothing"},
    {"no-load", ON_ONE, ENDS_NOTHING, nowhere, nothing, "does nothing, to workers that have no etcd"},
    {"session-taken", ON_ONE, ENDS_NOTHING, fenced, fault_end_session, "ends a session and declares that it does not"},
    {NULL},
};
