/* Simulating a reactor of your own: many seeds, each a minute of faults that a test lab would need weeks for.
 *
 *     simulate [SEEDS [FIRST]]
 *
 * The reactor under test hands out numbered tickets: each worker takes the next number and writes down who has it. What
 * it promises: no number is left out, none is given twice. The simulator supplies an etcd, other workers, crashes, lost
 * answers and broken connections, and says with which seed the promise was broken, so that it can be broken again. */
#include <etcdworker/sim.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 3 };

typedef struct machine {
    ew_sim *sim;
    int name;
    bool closed; /* gives no more tickets */
} machine;

/* One atomic group: the counter goes up and the ticket is written, or neither. It is run again on newer state if
 * another worker was faster, and then takes the number after that one. */
static int take_ticket(void *arg, ew_view *view) {
    const machine *m = arg;
    int64_t last = 0;
    ew_entry e;
    if (ew_view_get(view, EW_STR("/tickets/last"), &e) == EW_OK && !ew_slice_int(e.value, &last))
        return EW_ERR_REACTOR;
    char number[24], key[48], owner[16];
    snprintf(number, sizeof number, "%" PRId64, last + 1);
    snprintf(key, sizeof key, "/tickets/given/%" PRId64, last + 1);
    snprintf(owner, sizeof owner, "machine %d", m->name);
    if (ew_view_get(view, ew_str(key), &e) == EW_OK)
        ew_sim_fail(m->sim, "ticket %s is given twice", number);
    ew_view_put(view, EW_STR("/tickets/last"), ew_str(number));
    return ew_view_put(view, ew_str(key), ew_str(owner));
}

static int tick(void *self, ew_tick *t) {
    machine *m = self;
    ew_entry e = {0};
    int64_t last = 0, given = 0;
    if (ew_tick_get(t, EW_STR("/tickets/last"), &e) == EW_OK)
        ew_slice_int(e.value, &last);
    for (e = (ew_entry){0}; ew_tick_scan(t, EW_STR("/tickets/given/"), &e);)
        given++;
    if (given != last)
        ew_sim_fail(m->sim, "machine %d sees %" PRId64 " tickets, but the last has number %" PRId64, m->name, given,
                    last);
    if (m->closed || ew_sim_random(m->sim) % 2 == 0)
        return EW_OK;
    return ew_group_patch(ew_tick_group(t), take_ticket, m, NULL);
}

/* Runs one seed: true if the promise held. */
static bool simulate(uint64_t seed, uint64_t *tickets) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    machine machines[WORKERS];
    ew_error err = {0};
    ew_sim *sim = ew_sim_new(seed);
    ew_options *o = ew_options_new();
    int status = ew_options_set(o, "prefix", "/tickets", &err);
    if (status == EW_OK)
        status = ew_options_set_int(o, "tick_interval_ms", 200, &err);
    for (int i = 0; i < WORKERS && status >= 0; i++) {
        machines[i] = (machine){sim, i, false};
        status = ew_sim_add_worker(sim, o, &reactor, &machines[i], &err);
    }
    ew_options_free(o);
    if (status < 0) {
        fprintf(stderr, "simulate: %s: %s\n", ew_strerror(status), err.detail);
        exit(1);
    }
    ew_sim_run(sim, 5000);
    for (int i = 0; i < WORKERS; i++)
        machines[i].closed = true;
    ew_sim_settle(sim, 60000);

    ew_entry last;
    int64_t number = 0;
    if (ew_sim_get(sim, EW_STR("/tickets/last"), &last) == EW_OK)
        ew_slice_int(last.value, &number);
    *tickets += (uint64_t)number;
    const char *failure = ew_sim_failure(sim);
    if (failure) {
        printf("seed %" PRIu64 ": %s\n", seed, failure);
        ew_sim_describe(sim, stdout);
    }
    bool held = failure == NULL;
    ew_sim_free(sim);
    return held;
}

int main(int argc, char **argv) {
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 100, first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t tickets = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++)
        if (!simulate(seed, &tickets))
            return 1;
    printf("%" PRIu64 " seeds, %" PRIu64 " tickets, each given once\n", seeds, tickets);
    return 0;
}
