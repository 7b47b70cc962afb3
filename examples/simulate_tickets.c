/* Simulates the reactor of plugin_tickets.c: three workers and twenty clients on a model of etcd, with crashes, lost
 * responses and broken connections sampled from a seed.
 *
 *     cc -o simulate simulate_tickets.c plugin_tickets.c $(pkg-config --cflags --libs etcdworker)
 *     ./simulate [SEEDS [FIRST]] */
#include <etcdworker/sim.h>

#include <stdlib.h>

enum { WORKERS = 3, CLIENTS = 20 };

extern const ew_plugin etcdworker_plugin; /* defined in plugin_tickets.c */

static void ask(ew_sim *s, void *key) {
    ew_sim_put(s, ew_str(key), EW_STR(""));
}

/* Restarts a worker that has ended, for any reason. */
static bool start_again(void *self, ew_status status, const char *detail, bool killed) {
    return (void)self, (void)status, (void)detail, (void)killed, true;
}

/* The promise: the tickets 1 to CLIENTS exist, and no client has two of them. */
static void check(ew_sim *s) {
    bool has_one[CLIENTS] = {false};
    for (int n = 1; n <= CLIENTS; n++) {
        char key[48];
        ew_entry e;
        int64_t client;
        snprintf(key, sizeof key, "/tickets/given/%d", n);
        if (ew_sim_get(s, ew_str(key), &e) != EW_OK || !ew_slice_int(e.value, &client))
            ew_sim_fail(s, "there is no ticket %d", n);
        else if (has_one[client])
            ew_sim_fail(s, "client %d has two tickets", (int)client);
        else
            has_one[client] = true;
    }
}

int main(int argc, char **argv) {
    int seeds = argc > 1 ? atoi(argv[1]) : 1000, first = argc > 2 ? atoi(argv[2]) : 1;
    for (int seed = first; seed < first + seeds; seed++) {
        char keys[CLIENTS][32];
        ew_sim *s = ew_sim_new((uint64_t)seed);
        ew_options *o = ew_options_new();
        ew_options_set(o, "prefix", "/tickets", NULL);
        for (int i = 0; i < WORKERS; i++)
            ew_sim_on_end(s, ew_sim_add_worker(s, o, etcdworker_plugin.reactor, NULL, NULL), start_again);
        for (int i = 0; i < CLIENTS; i++) {
            snprintf(keys[i], sizeof keys[i], "/tickets/wanted/%d", i);
            ew_sim_after(s, (int64_t)(ew_sim_random(s) % 5000), ask, keys[i]);
        }
        ew_sim_run(s, 5000);     /* five simulated seconds with faults */
        ew_sim_settle(s, 60000); /* then without faults, until all workers are idle */
        check(s);
        if (ew_sim_failure(s))
            return printf("seed %d: %s\n", seed, ew_sim_failure(s)), 1;
        ew_options_free(o);
        ew_sim_free(s);
    }
    printf("%d seeds: every client has a ticket, and no number is left out\n", seeds);
}
