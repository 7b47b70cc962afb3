/* etcdworker-sim: runs many seeds of the scenario, and shows that it finds known mistakes. */
#include "bugs.h"
#include "seeds.h"

#include <etcdworker/types.h>

#include <getopt.h>
#include <inttypes.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <unistd.h>

typedef struct arguments {
    uint64_t seed, seeds;
    double minutes;
    unsigned jobs; /* 0: as many as there are processors, if that is useful */
    bool given_seed, verbose, all_bugs, list;
    const char *bug;
} arguments;

static void usage(FILE *out) {
    fputs(
        "usage: etcdworker-sim [OPTION...]\n"
        "\n"
        "  --seeds N      run N seeds (1000)\n"
        "  --seed S       start at seed S (1); without --seeds or --minutes, run that one and print what was sampled\n"
        "  --minutes M    run seeds for M minutes\n"
        "  --jobs N       in N processes; by default one for each processor, if there are more than 100 seeds.\n"
        "                 The output is the same\n"
        "  --verbose      print every step\n"
        "  --bug NAME     put a known mistake back and search for it in at most N seeds (10000)\n"
        "  --bugs         the same for each known mistake\n"
        "  --list-bugs    list the mistakes\n"
        "\n"
        "Exits with 0 if every check passed (with --bug: if the mistake was found), else with 1.\n",
        out);
}

static unsigned jobs_for(const arguments *a, uint64_t seeds) {
    enum { WORTH_IT = 100 };
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (a->jobs > 0)
        return a->jobs;
    return processors > 1 && (a->minutes > 0 || seeds > WORTH_IT) ? (unsigned)processors : 1;
}

/* Prints the result of a search. The search succeeded if the seed passes without the mistake. */
static bool say_found(const seeds_plan *plan, const seeds_tally *t, const char *name) {
    uint64_t seed = plan->first + t->failure.index;
    bugs_select(NULL);
    seed_result without = seeds_run_one(seed, NULL, NULL);
    printf("%-22s found by seed %" PRIu64 " (%" PRIu64 " tried, %.1f s): %s\n", name, seed, t->failure.index + 1,
           seeds_clock() - t->began, t->failure.failure);
    if (!without.ok)
        printf("%-22s FAILS WITHOUT IT, too: %s\n", name, without.failure);
    return without.ok;
}

/* Searches for a mistake that was put back. Returns 0 if it was found. */
static int find_bug(const arguments *a, const char *name) {
    if (!bugs_select(name)) {
        fprintf(stderr, "etcdworker-sim: there is no bug named %s\n", name);
        return 2;
    }
    seeds_plan plan = {.first = a->seed, .count = a->seeds ? a->seeds : 10000, .silent = true};
    plan.jobs = jobs_for(a, plan.count);
    seeds_tally t = {.plan = &plan, .began = seeds_clock()};
    /* In a separate process even for one job, since a core may abort when its state is wrong. */
    if (!seeds_run_jobs(&plan, &t)) {
        perror("etcdworker-sim");
        return 2;
    }
    if (t.stopped)
        exit(1);
    bool found = t.failed && say_found(&plan, &t, name);
    if (!t.failed)
        printf("%-22s NOT FOUND within %" PRIu64 " seeds\n", name, t.done);
    fflush(stdout);
    seeds_tally_fini(&t);
    return found ? 0 : 1;
}

static int find_all_bugs(const arguments *a) {
    int failed = 0;
    for (size_t i = 0; bugs_name(i); i++)
        failed |= find_bug(a, bugs_name(i));
    return failed;
}

/* Parses a number. Prints an error and returns false if it is not a number above zero. */
static bool take_number(uint64_t *out, const char *option, int64_t most) {
    int64_t number;
    if (!ew_slice_int(ew_str(optarg), &number) || number < 1 || number > most) {
        fprintf(stderr, "etcdworker-sim: --%s needs a number from 1 to %" PRId64 ": %s\n", option, most, optarg);
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

static bool take_minutes(double *out) {
    char *end;
    *out = strtod(optarg, &end);
    if (end != optarg && *end == '\0' && *out > 0 && *out < 1e6)
        return true;
    fprintf(stderr, "etcdworker-sim: --minutes needs a number above 0: %s\n", optarg);
    return false;
}

static bool parse(int argc, char **argv, arguments *a) {
    enum { JOBS_MAX = 1024 };
    uint64_t jobs;
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'},   {"seed", required_argument, NULL, 's'},
        {"minutes", required_argument, NULL, 'm'}, {"jobs", required_argument, NULL, 'j'},
        {"bug", required_argument, NULL, 'b'},     {"bugs", no_argument, NULL, 'B'},
        {"list-bugs", no_argument, NULL, 'l'},     {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {0}};
    *a = (arguments){.seed = 1};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            if (!take_number(&a->seeds, "seeds", INT64_MAX))
                exit(2);
            break;
        case 's':
            if (!take_number(&a->seed, "seed", INT64_MAX))
                exit(2);
            a->given_seed = true;
            break;
        case 'm':
            if (!take_minutes(&a->minutes))
                exit(2);
            break;
        case 'j':
            if (!take_number(&jobs, "jobs", JOBS_MAX))
                exit(2);
            a->jobs = (unsigned)jobs;
            break;
        case 'b':
            a->bug = optarg;
            break;
        case 'B':
            a->all_bugs = true;
            break;
        case 'l':
            a->list = true;
            break;
        case 'v':
            a->verbose = true;
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return false;
        }
    }
    return optind == argc;
}

static int run_seeds(const arguments *a) {
    seeds_plan plan = {.first = a->seed, .count = a->seeds, .minutes = a->minutes, .jobs = jobs_for(a, a->seeds)};
    plan.described = a->seeds == 1 ? stdout : NULL;
    plan.trace = a->verbose ? stdout : NULL;
    if (plan.described || plan.trace)
        plan.jobs = 1; /* so that the output is in order */
    return seeds_run(&plan);
}

/* Keeps freed memory in the process: the next seed needs it. */
static void keep_memory(void) {
#ifdef __GLIBC__
    enum { LARGE = 64 << 20 };
    mallopt(M_TRIM_THRESHOLD, LARGE);
    mallopt(M_TOP_PAD, LARGE / 8);
    mallopt(M_MMAP_THRESHOLD, LARGE / 2);
#endif
}

int main(int argc, char **argv) {
    arguments a;
    keep_memory();
    if (!parse(argc, argv, &a)) {
        usage(stderr);
        return 2;
    }
    if (a.list) {
        for (size_t i = 0; bugs_name(i); i++)
            printf("%-22s %s\n", bugs_name(i), bugs_help(i));
        return 0;
    }
    if (a.all_bugs)
        return find_all_bugs(&a);
    if (a.bug)
        return find_bug(&a, a.bug);
    if (a.seeds == 0 && a.minutes == 0)
        a.seeds = a.given_seed ? 1 : 1000;
    return run_seeds(&a);
}
