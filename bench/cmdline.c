#include "cmdline.h"

#include <etcdworker/options.h>
#include <etcdworker/version.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ROW_S lets the standard set end within five minutes: on a slow or busy machine, slow rows get fewer runs. */
enum { EXIT_USAGE = 2, ROW_S = 12, CPUS_MAX = 4096 };

static void help(void) {
    printf("Usage: etcdworker-bench [WORKLOAD...] [OPTION...]\n\n"
           "Measures etcdworker against the physical floor: what etcd and one thread can do.\n\n"
           "Workloads (without any: all of them, which is the standard set):\n");
    const workload *w;
    for (size_t i = 0; (w = workload_at(i)); i++)
        printf("  %-10s %s\n", w->name, w->help);
    printf("\nOptions:\n"
           "  --etcd dev|ENDPOINTS  dev (default): a private etcd in memory; or host:port, separated by commas\n"
           "  --disk DIR            keep the private etcd's data below DIR while it runs\n"
           "  --etcd-path PROGRAM   the private etcd's program (default: etcd)\n"
           "  --runs N              timed runs of each row, each paired with its floor (default: up to 3 in 12 s)\n"
           "  --set NAME=VALUE      an option of the workers, such as exactly_once=off; may be repeated\n"
           "  --cpu N               keep each worker's process on CPU N\n"
           "  --plain               do not call ew_process_prepare, to measure workers without it\n"
           "  --json FILE           write all numbers as JSON\n"
           "  --html FILE           write one page with tables and plots\n"
           "  --baseline FILE       compare with the JSON of an earlier run\n"
           "  --wide                print all columns of the table, 190 characters wide\n"
           "  --smoke               run for seconds only: test that every workload runs and counts correctly\n"
           "  --verbose             print the workers' log to stderr\n"
           "  --help, --version\n\n"
           "Ctrl-C ends the program; it reports what is complete.\n");
}

static int complain(const char *what, const char *value) {
    fprintf(stderr, "etcdworker-bench: %s%s\nTry --help.\n", what, value);
    return EXIT_USAGE;
}

/* Checks the setting at once, so that an error is not reported minutes later. */
static int add_set(bench *b, ew_options *o, const char *text) {
    char name[64];
    const char *equals = strchr(text, '=');
    ew_error err = {0};
    if (!equals || (size_t)(equals - text) >= sizeof name || strlen(text) > 150 || b->set_count == BENCH_SETS_MAX)
        return complain("--set requires NAME=VALUE: ", text);
    snprintf(name, sizeof name, "%.*s", (int)(equals - text), text);
    if (ew_options_set(o, name, equals + 1, &err) != EW_OK)
        return complain("--set: ", err.detail);
    b->sets[b->set_count++] = text;
    return -1;
}

static int parse_number(int *out, const char *text, int min, int max, const char *complaint) {
    char *end;
    long number = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < min || number > max)
        return complain(complaint, text);
    *out = (int)number;
    return -1;
}

static int parse_options(bench *b, ew_options *o, int argc, char **argv) {
    enum {
        ETCD = 256,
        DISK,
        ETCD_PATH,
        RUNS,
        SET,
        CPU,
        PLAIN,
        JSON,
        HTML,
        BASELINE,
        WIDE,
        SMOKE,
        VERBOSE,
        HELP,
        VERSION
    };
    static const struct option options[] = {
        {"etcd", required_argument, NULL, ETCD},
        {"disk", required_argument, NULL, DISK},
        {"etcd-path", required_argument, NULL, ETCD_PATH},
        {"runs", required_argument, NULL, RUNS},
        {"set", required_argument, NULL, SET},
        {"cpu", required_argument, NULL, CPU},
        {"plain", no_argument, NULL, PLAIN},
        {"json", required_argument, NULL, JSON},
        {"html", required_argument, NULL, HTML},
        {"baseline", required_argument, NULL, BASELINE},
        {"wide", no_argument, NULL, WIDE},
        {"smoke", no_argument, NULL, SMOKE},
        {"verbose", no_argument, NULL, VERBOSE},
        {"help", no_argument, NULL, HELP},
        {"version", no_argument, NULL, VERSION},
        {0},
    };
    int which, status = -1;
    while (status < 0 && (which = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
        switch (which) {
        case ETCD:
            b->etcd = optarg;
            break;
        case DISK:
            b->disk = optarg;
            break;
        case ETCD_PATH:
            b->etcd_path = optarg;
            break;
        case RUNS:
            status = parse_number(&b->runs, optarg, 1, 1000, "--runs requires a number from 1 to 1000: ");
            break;
        case CPU:
            status = parse_number(&b->cpu, optarg, 0, CPUS_MAX - 1, "--cpu requires the number of a CPU: ");
            break;
        case PLAIN:
            b->plain = true;
            break;
        case SET:
            status = add_set(b, o, optarg);
            break;
        case JSON:
            b->json_path = optarg;
            break;
        case HTML:
            b->html_path = optarg;
            break;
        case BASELINE:
            b->baseline_path = optarg;
            break;
        case WIDE:
            b->wide = true;
            break;
        case SMOKE:
            b->smoke = true;
            break;
        case VERBOSE:
        case 'v':
            b->verbose = true;
            break;
        case HELP:
        case 'h':
            help();
            return EXIT_SUCCESS;
        case VERSION:
            printf("etcdworker-bench %s\n", ew_version());
            return EXIT_SUCCESS;
        default:
            fprintf(stderr, "Try --help.\n");
            return EXIT_USAGE;
        }
    }
    return status;
}

static int parse_workloads(cmdline *c, bench *b, int count, char **names) {
    const workload *w;
    for (int i = 0; i < count; i++) {
        if (!(w = workload_named(names[i])))
            return complain("no such workload: ", names[i]);
        if (c->count == CMDLINE_WORKLOADS_MAX)
            return complain("too many workloads", "");
        c->workloads[c->count++] = w;
    }
    for (size_t i = 0; count == 0 && (w = workload_at(i)); i++)
        c->workloads[c->count++] = w;
    for (size_t i = 0; i < c->count; i++)
        b->rows_planned += c->workloads[i]->rows;
    return -1;
}

/* ---- files: errors are reported before the measurement, which takes minutes ---- */

/* Checks that a report can be written to `path`. Does not change an existing file, and leaves no new one. Returns -1 or
 * the exit status. */
static int check_output(const char *option, const char *path) {
    struct stat st;
    bool ok = !path;
    if (!ok && stat(path, &st) == 0) {
        ok = !S_ISDIR(st.st_mode) && access(path, W_OK) == 0;
        if (S_ISDIR(st.st_mode))
            errno = EISDIR;
    } else if (!ok) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ok = fd >= 0 && close(fd) == 0 && unlink(path) == 0;
    }
    if (ok)
        return -1;
    fprintf(stderr, "etcdworker-bench: %s %s: %s\n", option, path, strerror(errno));
    return EXIT_USAGE;
}

static int check_disk(const char *path) {
    struct stat st;
    bool ok = !path || (stat(path, &st) == 0 && access(path, W_OK) == 0);
    if (ok && path && !S_ISDIR(st.st_mode)) {
        ok = false;
        errno = ENOTDIR;
    }
    if (ok)
        return -1;
    fprintf(stderr, "etcdworker-bench: --disk %s: %s\n", path, strerror(errno));
    return EXIT_USAGE;
}

static int load_baseline(bench *b) {
    json_error_t problem = {0};
    if (!b->baseline_path)
        return -1;
    b->baseline = json_load_file(b->baseline_path, 0, &problem);
    if (json_is_object(json_object_get(b->baseline, "workloads")))
        return -1;
    fprintf(stderr, "etcdworker-bench: --baseline %s: %s\n", b->baseline_path,
            !b->baseline ? problem.text : "not a report written by --json");
    json_decref(b->baseline);
    return EXIT_USAGE;
}

static int check_files(bench *b) {
    int status = check_disk(b->disk);
    if (status < 0)
        status = check_output("--json", b->json_path);
    if (status < 0)
        status = check_output("--html", b->html_path);
    return status < 0 ? load_baseline(b) : status;
}

static bool may_run_on(int cpu) {
    cpu_set_t *set = CPU_ALLOC((size_t)CPUS_MAX);
    size_t size = CPU_ALLOC_SIZE((size_t)CPUS_MAX);
    bool may = set && sched_getaffinity(0, size, set) == 0 && CPU_ISSET_S((size_t)cpu, size, set);
    CPU_FREE(set);
    return may;
}

int cmdline_parse(cmdline *c, bench *b, int argc, char **argv) {
    *c = (cmdline){0};
    *b = (bench){.etcd = "dev", .etcd_path = "etcd", .cpu = -1};
    ew_options *o = ew_options_new();
    int status = o ? parse_options(b, o, argc, argv) : complain("out of memory", "");
    ew_options_free(o);
    if (status >= 0)
        return status;
    if (b->runs == 0) {
        b->runs = b->smoke ? 1 : 3;
        b->row_s = ROW_S;
    }
    if (b->cpu >= 0 && !may_run_on(b->cpu)) {
        fprintf(stderr, "etcdworker-bench: --cpu %d: this process may not run on that CPU\n", b->cpu);
        return EXIT_USAGE;
    }
    if (b->disk && strcmp(b->etcd, "dev") != 0)
        return complain("--disk requires the private etcd: remove --etcd", "");
    status = parse_workloads(c, b, argc - optind, argv + optind);
    return status < 0 ? check_files(b) : status;
}
