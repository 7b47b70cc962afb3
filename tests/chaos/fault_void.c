/* Two that are none, for the tests of the harness: it must call them void. */
#include "chaos/fault.h"

static void nothing(injection *i) {
    i->targets = ALL_WORKERS;
    fault_healed(i);
    fault_missed(i, "it is none");
}

static const char *const nowhere[] = {"endpoints=127.0.0.1:1", "start_timeout_ms=1000", NULL};

const fault faults_of_tests[] = {
    {"nothing", ON_ONE, NULL, nothing, "does not hit"},
    {"no-load", ON_ONE, nowhere, nothing, "on workers that have no etcd"},
    {NULL},
};
