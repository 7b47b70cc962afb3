/* allocations: makes each place of the library that allocates fail, once in a run, while a scenario uses a real etcd.
 * The failure must lead to an error or have no effect: no crash, no hang, no leak, no thread or file left, and nothing
 * in etcd that differs from what was reported. See docs/testing.md. */
#include "alloc/scenario.h"
#include "lib/process.h"
#include "lib/scenario.h"
#include "service/dev_guard.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_S = 30,    /* for a run, which takes a fraction of a second */
    LEFT_MS = 10000, /* for threads and files to be released */
    CODES = 29,
};

/* Weak, so that it links without the sanitizer too. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

typedef struct settings {
    bool all, verbose;
    const char *scenario, *place;
    unsigned visit; /* 0: chosen as usual */
} settings;

ew_error err;
static settings want;
static char now_text[200]; /* what is running, for the message at an abnormal end */
static char problem[400];
static int first_status;
static unsigned runs, reached, absorbed, errors[CODES];

/* ---- reports of the scenarios ---- */

void alloc_problem(const char *format, ...) {
    if (problem[0] != '\0')
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(problem, sizeof problem, format, args);
    va_end(args);
}

int alloc_failed(int status, const char *what, const ew_error *why) {
    if (status != EW_OK && first_status == EW_OK)
        first_status = status;
    if (status == EW_ERR_INVALID)
        alloc_problem("%s reports an invalid argument: %s", what, why->detail);
    if (status != EW_OK && want.verbose)
        fprintf(stderr, "    %s: %s: %s\n", what, ew_errname(status), why->detail);
    return status;
}

static void write_log(void *arg, const ew_log_record *r) {
    (void)arg;
    fprintf(stderr, "    %s: %s", r->area, r->message);
    for (size_t i = 0; i < r->field_count; i++) {
        const ew_log_field *f = &r->fields[i];
        if (f->text)
            fprintf(stderr, " %s=%s", f->name, f->text);
        else
            fprintf(stderr, " %s=%" PRId64, f->name, f->number);
    }
    fprintf(stderr, "\n");
}

void alloc_log(void) {
    ew_log_set(want.verbose ? write_log : NULL, NULL, EW_LOG_DEBUG);
}

/* ---- abnormal ends ---- */

static void tell_where(void) {
    fprintf(stderr, "allocations: the program ended in %s\n", now_text);
}

static void on_signal(int signal) {
    static const char hang[] = "allocations: a run hangs\n";
    if (signal == SIGALRM && write(STDERR_FILENO, hang, sizeof hang - 1) < 0)
        _exit(1);
    if (write(STDERR_FILENO, now_text, strlen(now_text)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(1);
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(SIGABRT, &usual, NULL);
    abort();
}

static void watch_ends(void) {
    struct sigaction ours = {.sa_handler = on_signal};
    sigaction(SIGALRM, &ours, NULL);
    sigaction(SIGABRT, &ours, NULL);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell_where);
}

/* ---- one run ---- */

typedef struct leftovers {
    size_t threads, files;
} leftovers;

static bool is_back(const leftovers *before) {
    return env_threads() <= before->threads && env_files() <= before->files;
}

static void check_leftovers(const leftovers *before) {
    int64_t until_ms = env_now_ms() + LEFT_MS;
    while (!is_back(before)) {
        if (env_now_ms() > until_ms) {
            alloc_problem("%zu threads and %zu files after the run; %zu and %zu before it", env_threads(), env_files(),
                          before->threads, before->files);
            return;
        }
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static const char *short_name(const char *file) {
    const char *at = strstr(file, "src/");
    return at ? at + 4 : file;
}

/* Returns whether the allocation was reached. */
static bool run_once(const alloc_scenario *sc, failing_site *site, unsigned nth, const leftovers *before) {
    if (site)
        snprintf(now_text, sizeof now_text, "%s, %s:%d, visit %u", sc->name, short_name(site->file), site->line, nth);
    else
        snprintf(now_text, sizeof now_text, "%s, without a failure", sc->name);
    if (want.verbose)
        fprintf(stderr, "%s\n", now_text);
    first_status = EW_OK;
    runs++;
    alarm(LIMIT_S);
    failing_arm(site, nth);
    sc->run();
    bool did = failing_disarm();
    alarm(0);
    if (!did && first_status != EW_OK)
        alloc_problem("%s, although no allocation had failed", ew_errname(first_status));
    if (before)
        check_leftovers(before);
    if ((want.verbose || want.place) && __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() != 0)
        alloc_problem("memory was leaked");
    reached += did;
    if (did && first_status == EW_OK)
        absorbed++;
    else if (did)
        errors[-first_status < CODES ? -first_status : 0]++;
    return did;
}

static bool is_wanted(const alloc_scenario *sc, const failing_site *s) {
    char place[128];
    if (sc->only && !want.scenario && strncmp(short_name(s->file), sc->only, strlen(sc->only)) != 0)
        return false;
    snprintf(place, sizeof place, "%s:%d", short_name(s->file), s->line);
    return !want.place || strcmp(want.place, place) == 0;
}

static int complain(void) {
    printf("allocations: %s: %s\n", now_text, problem);
    return 1;
}

/* ---- all runs ---- */

/* Returns the visit to fail after this one; 0: none. By default: the first visit of a place, one in the middle of a run
 * without failures, and, where messages are unpacked, the last visits, which belong to the end of the actors. With
 * --all: every visit. */
static unsigned next_visit(const failing_site *s, unsigned nth, unsigned usual) {
    enum { LAST = 12 };
    unsigned middle = 1 + usual / 2, last = usual > LAST ? usual - LAST : 0;
    if (want.all)
        return nth + 1;
    if (nth == 1 && usual > 2)
        return middle;
    if (strcmp(short_name(s->file), "core/unpack.c") != 0 || nth >= usual)
        return 0;
    return nth < last ? last : nth + 1;
}

static int run_site(const alloc_scenario *sc, failing_site *s, const leftovers *before, unsigned usual) {
    for (unsigned nth = want.visit > 0 ? want.visit : 1; nth > 0; nth = next_visit(s, nth, usual)) {
        bool did = run_once(sc, s, nth, before);
        if (problem[0] != '\0')
            return complain();
        if (!did || want.visit > 0)
            return 0;
    }
    return 0;
}

static int run_scenario(const alloc_scenario *sc) {
    enum { SITES = 1024 };
    static size_t seen;
    static unsigned usual[SITES];
    unsigned runs_before = runs, reached_before = reached, sites = 0;
    int64_t began_ms = env_now_ms();
    size_t known = seen, old = sc->slow || (sc->much_alike && !want.all) ? seen : 0;
    for (int i = 0; i < 3; i++) { /* gRPC and nng allocate what they keep */
        run_once(sc, NULL, 0, NULL);
        if (problem[0] != '\0')
            return complain();
    }
    memset(usual, 0, sizeof usual);
    failing_site *s = failing_first();
    for (size_t i = 0; s && i < SITES; i++, s = s->next)
        usual[i] = s->visits;
    leftovers before = {env_threads(), env_files()};
    /* A place that only a failure reaches is found on the way. */
    s = failing_first();
    for (size_t i = 0; s && i < SITES; i++, s = s->next) {
        seen = i >= seen ? i + 1 : seen;
        if (i < old || (i < known && usual[i] == 0) || !is_wanted(sc, s))
            continue;
        sites++;
        if (run_site(sc, s, &before, usual[i]) != 0)
            return 1;
    }
    if (s) {
        alloc_problem("more than %d places", SITES);
        return complain();
    }
    printf("%-8s %3u places, %5u runs, in %5u an allocation failed; %" PRId64 " s\n", sc->name, sites,
           runs - runs_before, reached - reached_before, (env_now_ms() - began_ms) / 1000);
    fflush(stdout);
    return 0;
}

static int run_all(void) {
    int bad = 0;
    alloc_open();
    for (const alloc_scenario *sc = alloc_scenarios; sc->name && bad == 0; sc++)
        if (want.scenario ? strcmp(want.scenario, sc->name) == 0 : want.all || !sc->seldom)
            bad = run_scenario(sc);
    alloc_close();
    printf("%u absorbed", absorbed);
    for (int i = 0; i < CODES; i++)
        if (errors[i] > 0)
            printf(", %u %s", errors[i], ew_errname(-i));
    printf("\n");
    if (bad == 0 && reached == 0) {
        printf("allocations: void: no allocation was reached\n");
        bad = 1;
    }
    return bad;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], DEV_GUARD_FLAG) == 0) /* the guard of a private etcd runs this program */
        return dev_guard_main(argc, argv);
    static const struct option options[] = {{"all", no_argument, NULL, 'a'},
                                            {"scenario", required_argument, NULL, 's'},
                                            {"place", required_argument, NULL, 'p'},
                                            {"visit", required_argument, NULL, 'n'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'a')
            want.all = true;
        else if (c == 'v')
            want.verbose = true;
        else if (c == 's')
            want.scenario = optarg;
        else if (c == 'p')
            want.place = optarg;
        else if (c == 'n')
            want.visit = (unsigned)atoi(optarg);
        else {
            fputs("usage: allocations [OPTION...]\n"
                  "  --all            every visit of every place that allocates; without it, the first visit and one "
                  "more\n"
                  "  --scenario NAME  only this scenario\n"
                  "  --place FILE:N   only this place, as core/arena.c:16; looks for leaks after each run\n"
                  "  --visit N        only the N-th visit of it\n"
                  "  --verbose        prints each run with its log, and looks for leaks after each\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    watch_ends();
    alloc_log();
    return run_all();
}
