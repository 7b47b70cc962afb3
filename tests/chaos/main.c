/* chaos: workers on a real etcd under faults, with exact accounting of every group. See docs/testing.md.
 *
 * The worker processes run this program too, with `--worker`; see worker.h. */
#include "chaos/round.h"
#ifdef EW_BUGS
#include "sim/bugs.h"
#endif

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TALLIES_MAX = 64,
    ROUND_MS = 12000, /* at most; shorter if the time must be divided among all faults */
    ROUND_LEAST_MS = 1000,
    RECOVERY_ONE_MS = 2000,
    RECOVERY_THREE_MS = 3000, /* etcd's election timeout, 1 s, plus two seconds */
};

typedef struct settings {
    int minutes; /* 0: one short round of each fault */
    int nodes;   /* 0: both */
    const char *only;
    uint64_t seed;
    bool verbose;
} settings;

static void usage(FILE *out) {
    fputs("usage: chaos [OPTION...]\n"
          "  --minutes M   repeat rounds of all faults for M minutes; without it, one short round of each\n"
          "  --nodes N     etcd on 1 or 3 nodes only (default: both, one after the other)\n"
          "  --fault NAME  this fault only\n"
          "  --seed N      seed of the harness's random choices (default: from the clock)\n"
          "  --verbose     print the last lines of the workers' logs after each round (CHAOS_LOG=debug in the "
          "environment: with "
          "all state transitions)\n"
          "  --list        list the faults\n",
          out);
}

static const fault *const lists[] = {
    faults_of_members, faults_of_history, faults_of_connections, faults_of_time,
    faults_of_workers, faults_of_users,   faults_of_clients,
#ifdef EW_BUGS
    faults_of_tests,
#endif
};

static void list_faults(void) {
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
        for (const fault *f = lists[l]; f->name; f++)
            printf("%-17s %-4s %s\n", f->name, f->where == ON_THREE ? "3" : "1, 3", f->what);
}

static size_t make_tallies(const settings *s, int nodes, tally *tallies) {
    size_t n = 0;
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
        for (const fault *f = lists[l]; f->name; f++)
            if ((f->where & (nodes == 1 ? ON_ONE : ON_THREE)) != 0 && n < TALLIES_MAX &&
                (!s->only || strcmp(s->only, f->name) == 0))
                tallies[n++] = (tally){.fault = f, .nodes = nodes};
    return n;
}

/* ---- the table ---- */

static void print_head(void) {
    printf("%-17s %5s %6s %8s %8s %8s %5s %10s %6s %13s %13s\n", "fault", "nodes", "times", "groups", "unknown",
           "given up", "lost", "duplicated", "wrong", "recovered ms", "noticed ms");
    printf("%-17s %5s %6s %8s %8s %8s %5s %10s %6s %13s %13s\n", "", "", "", "", "", "", "", "", "", "p50/p99",
           "p50/p99");
}

static void print_times(char *out, size_t size, samples *s) {
    if (s->count == 0)
        snprintf(out, size, "-");
    else
        snprintf(out, size, "%lld/%lld", (long long)(samples_percentile(s, 50) / 1000),
                 (long long)(samples_percentile(s, 99) / 1000));
}

static void print_line(tally *t, const char *remark) {
    char recovered[48], noticed[48];
    print_times(recovered, sizeof recovered, &t->recovered);
    print_times(noticed, sizeof noticed, &t->noticed);
    printf("%-17s %5d %6u %8llu %8llu %8llu %5llu %10llu %6llu %13s %13s %s\n", t->fault->name, t->nodes, t->times,
           (unsigned long long)t->sum.groups, (unsigned long long)t->sum.unknown, (unsigned long long)t->sum.given_up,
           (unsigned long long)t->sum.lost, (unsigned long long)t->sum.duplicated, (unsigned long long)t->sum.wrong,
           recovered, noticed, remark);
    fflush(stdout);
}

/* The time limits apply to long runs on a machine that is not overloaded. A short round must only recover. */
static const char *judge_times(tally *t, bool brief) {
    int64_t limit_ms = t->nodes == 1 ? RECOVERY_ONE_MS : RECOVERY_THREE_MS;
    if (t->failures > 0)
        return "FAILED";
    if (brief)
        return "";
    if (samples_percentile(&t->recovered, 99) > limit_ms * 1000)
        return "TOO SLOW";
    return samples_percentile(&t->noticed, 99) > NOTICE_LIMIT_MS * 1000LL ? "NOTICED TOO LATE" : "";
}

/* ---- running ---- */

/* Runs all rounds on this number of nodes. Returns the number of failed lines. */
static size_t run_on(const settings *s, int nodes, int64_t until_us) {
    static tally tallies[TALLIES_MAX];
    static world w;
    size_t count = make_tallies(s, nodes, tallies), bad = 0;
    bool brief = s->minutes == 0;
    if (count == 0) {
        fprintf(stderr, "chaos: fault %s is not defined for %d node%s\n", s->only, nodes, nodes > 1 ? "s" : "");
        return s->nodes != 0; /* the user asked for it */
    }
    world_open(&w, nodes, s->seed);
    w.verbose = s->verbose;
    int64_t round_ms = (until_us - journal_now_us()) / 1000 / (int64_t)count;
    round_ms = round_ms > ROUND_MS ? ROUND_MS : round_ms < ROUND_LEAST_MS ? ROUND_LEAST_MS : round_ms;
    do {
        for (size_t n = 0; n < count; n++) {
            bool due = tallies[n].rounds == 0 || journal_now_us() < until_us;
            if (!due)
                continue;
            bool good = round_run(&w, &tallies[n], brief, brief ? 0 : (int)round_ms);
            if (!good || !brief)
                fprintf(stderr, "%s on %d, round %u: %s, %u times, %llu groups so far\n", tallies[n].fault->name, nodes,
                        tallies[n].rounds, good ? "good" : "FAILED", tallies[n].times,
                        (unsigned long long)tallies[n].sum.groups);
        }
    } while (journal_now_us() < until_us);
    world_close(&w);
    for (size_t n = 0; n < count; n++) {
        const char *remark = judge_times(&tallies[n], brief);
        bad += remark[0] != '\0';
        print_line(&tallies[n], remark);
    }
    return bad;
}

static int run(const settings *s) {
    int64_t began_us = journal_now_us(), length_us = (int64_t)s->minutes * 60000000;
    size_t bad = 0;
    printf("seed %llu\n", (unsigned long long)s->seed);
    print_head();
    if (s->nodes != 3)
        bad += run_on(s, 1, began_us + (s->nodes == 1 ? length_us : length_us / 2));
    if (s->nodes != 1)
        bad += run_on(s, 3, began_us + length_us);
    printf("%zu lines failed; %lld s\n", bad, (long long)((journal_now_us() - began_us) / 1000000));
    return bad == 0 ? 0 : 1;
}

static bool known(const char *name) {
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
        for (const fault *f = lists[l]; f->name; f++)
            if (strcmp(f->name, name) == 0)
                return true;
    return false;
}

/* Parses optarg. Ends the program with an error if it is not a number from 0 to `most`. */
static int64_t number(const char *option, int64_t most) {
    int64_t n;
    if (ew_slice_int(ew_str(optarg), &n) && n >= 0 && n <= most)
        return n;
    fprintf(stderr, "chaos: --%s needs a number up to %" PRId64 ": %s\n", option, most, optarg);
    exit(2);
}

int main(int argc, char **argv) {
    enum { MINUTES = 256, NODES, FAULT, SEED, VERBOSE, LIST, HELP };
    static const struct option options[] = {{"minutes", required_argument, NULL, MINUTES},
                                            {"nodes", required_argument, NULL, NODES},
                                            {"fault", required_argument, NULL, FAULT},
                                            {"seed", required_argument, NULL, SEED},
                                            {"verbose", no_argument, NULL, VERBOSE},
                                            {"list", no_argument, NULL, LIST},
                                            {"help", no_argument, NULL, HELP},
                                            {0}};
#ifdef EW_BUGS
    const char *mistake = getenv("CHAOS_BUG"); /* inherited by the worker processes */
    if (!mistake || !bugs_select(mistake[0] != '\0' ? mistake : NULL)) {
        fprintf(stderr, "CHAOS_BUG must name a mistake of src/core/bug.h, or be empty\n");
        return 2;
    }
#endif
    if (argc > 1 && strcmp(argv[1], "--worker") == 0)
        return chaos_worker(argc - 1, argv + 1);
    settings s = {.seed = (uint64_t)time(NULL)};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case MINUTES:
            s.minutes = (int)number("minutes", 100000);
            break;
        case NODES:
            s.nodes = (int)number("nodes", 3);
            break;
        case FAULT:
            s.only = optarg;
            break;
        case SEED:
            s.seed = (uint64_t)number("seed", INT64_MAX);
            break;
        case VERBOSE:
            s.verbose = true;
            break;
        case LIST:
            list_faults();
            return 0;
        case HELP:
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc || (s.nodes != 0 && s.nodes != 1 && s.nodes != 3) || (s.only && !known(s.only))) {
        usage(stderr);
        return 2;
    }
    return run(&s);
}
