/* etcdworker-sim: many seeds of the scenario, and the proof that it finds what it is there to find. */
#include "bugs.h"
#include "scenario.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct arguments {
    uint64_t seed, seeds;
    double minutes;
    bool given_seed, verbose, all_bugs, list;
    const char *bug;
} arguments;

static void usage(FILE *out) {
    fputs("usage: etcdworker-sim [OPTION...]\n"
          "\n"
          "  --seeds N      run N seeds (1000)\n"
          "  --seed S       start at seed S (1); without --seeds or --minutes, run that one and say what was drawn\n"
          "  --minutes M    run seeds for M minutes\n"
          "  --verbose      print every step\n"
          "  --bug NAME     put a known mistake back, and look for it in at most N seeds (10000)\n"
          "  --bugs         the same with each of them\n"
          "  --list-bugs    name them\n"
          "\n"
          "Ends with status 0 if every promise held (with --bug: if the mistake was found), 1 if not.\n",
          out);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

typedef struct result {
    bool ok;
    uint64_t digest, ticks, revisions;
    char failure[512];
} result;

static result run_seed(uint64_t seed, const arguments *a) {
    scenario sc;
    result r = {0};
    scenario_init(&sc, seed);
    bool described = a->seeds == 1 && !a->bug;
    if (described)
        scenario_describe(&sc, stdout);
    if (a->verbose)
        ew_sim_trace(sc.sim, stdout);
    r.ok = scenario_run(&sc);
    r.digest = ew_sim_digest(sc.sim);
    r.ticks = sc.total_ticks;
    r.revisions = (uint64_t)ew_sim_revision(sc.sim);
    if (!r.ok)
        snprintf(r.failure, sizeof r.failure, "%s", ew_sim_failure(sc.sim));
    if (!r.ok && !a->bug && !described)
        scenario_describe(&sc, stdout);
    scenario_fini(&sc);
    return r;
}

/* Runs the seeds: 0 if all held. */
static int run_seeds(const arguments *a) {
    double began = seconds(), shown = began;
    uint64_t ticks = 0, revisions = 0, done = 0, digest = 0;
    for (uint64_t i = 0; a->minutes > 0 ? seconds() - began < a->minutes * 60 : i < a->seeds; i++) {
        result r = run_seed(a->seed + i, a);
        if (!r.ok) {
            printf("seed %" PRIu64 " FAILED: %s\n", a->seed + i, r.failure);
            printf("again: etcdworker-sim --seed %" PRIu64 " --verbose\n", a->seed + i);
            return 1;
        }
        done++;
        ticks += r.ticks;
        revisions += r.revisions;
        digest = (digest ^ r.digest) * UINT64_C(0x100000001b3);
        if (seconds() - shown > 5) {
            shown = seconds();
            printf("%" PRIu64 " seeds, %" PRIu64 " ticks, %" PRIu64 " revisions, %.0f seeds a minute\n", done, ticks,
                   revisions, (double)done / (shown - began) * 60);
            fflush(stdout);
        }
    }
    printf("ok: %" PRIu64 " seeds from %" PRIu64 ", %" PRIu64 " ticks, %" PRIu64 " revisions, digest %016" PRIx64
           ", %.0f seeds a minute\n",
           done, a->seed, ticks, revisions, digest, (double)done / (seconds() - began) * 60);
    return 0;
}

/* What a search for a bug tells its parent, in memory that both see. */
typedef struct search {
    uint64_t seed, tried;
    bool found;
    char failure[512];
} search;

static void search_bug(const arguments *a, search *out) {
    uint64_t most = a->seeds ? a->seeds : 10000;
    for (out->tried = 1; out->tried <= most && !out->found; out->tried++) {
        out->seed = a->seed + out->tried - 1;
        result r = run_seed(out->seed, a);
        out->found = !r.ok;
        snprintf(out->failure, sizeof out->failure, "%s", r.failure);
    }
    out->tried--;
}

/* In a process of its own, since a core may notice by itself that its state is wrong, and abort. */
static bool search_apart(const arguments *a, search *out) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        search_bug(a, out);
        _exit(0);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        ;
    if (!out->found && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        out->found = true;
        snprintf(out->failure, sizeof out->failure, "a core stopped at an assertion of its own");
    }
    return true;
}

/* Looks for a mistake that was put back: 0 if it was found. */
static int find_bug(const arguments *given, const char *name) {
    arguments a = *given;
    a.bug = name;
    if (!bugs_select(name)) {
        fprintf(stderr, "etcdworker-sim: there is no bug named %s\n", name);
        return 2;
    }
    double began = seconds();
    search *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !search_apart(&a, shared)) {
        perror("etcdworker-sim");
        return 2;
    }
    if (shared->found)
        printf("%-22s found by seed %" PRIu64 " (%" PRIu64 " tried, %.1f s): %s\n", name, shared->seed, shared->tried,
               seconds() - began, shared->failure);
    else
        printf("%-22s NOT FOUND within %" PRIu64 " seeds\n", name, shared->tried);
    fflush(stdout);
    bool found = shared->found;
    munmap(shared, sizeof *shared);
    bugs_select(NULL);
    return found ? 0 : 1;
}

static int find_all_bugs(const arguments *a) {
    int failed = 0;
    for (size_t i = 0; bugs_name(i); i++)
        failed |= find_bug(a, bugs_name(i));
    return failed;
}

static bool parse(int argc, char **argv, arguments *a) {
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"minutes", required_argument, NULL, 'm'},
                                            {"bug", required_argument, NULL, 'b'},
                                            {"bugs", no_argument, NULL, 'B'},
                                            {"list-bugs", no_argument, NULL, 'l'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    *a = (arguments){.seed = 1};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            a->seeds = strtoull(optarg, NULL, 10);
            break;
        case 's':
            a->seed = strtoull(optarg, NULL, 10);
            a->given_seed = true;
            break;
        case 'm':
            a->minutes = strtod(optarg, NULL);
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

int main(int argc, char **argv) {
    arguments a;
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
