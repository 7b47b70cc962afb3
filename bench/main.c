/* etcdworker-bench: see docs/performance.md and its manual page. */
#include "child.h"
#include "cmdline.h"
#include "machine.h"
#include "measure.h"
#include "progress.h"
#include "report.h"
#include "role.h"

#include "service/dev_etcd.h"
#include "service/dev_guard.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

static const role roles[] = {
    {"floor", role_floor, false},  {"watch", role_watch, false},      {"write", role_write, false},
    {"page", role_page, false},    {"probe", role_probe, false},      {"chain", role_chain, true},
    {"groups", role_groups, true}, {"follow", role_follow, true},     {"contend", role_contend, true},
    {"fanin", role_fanin, true},   {"pingpong", role_pingpong, true}, {0},
};

bool bench_interrupted(bench *b) {
    struct pollfd p = {.fd = b->signals, .events = POLLIN};
    if (!b->interrupted && poll(&p, 1, 0) == 1)
        b->interrupted = true;
    return b->interrupted;
}

bool bench_fail(bench *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(b->why, sizeof b->why, format, args);
    va_end(args);
    return false;
}

/* ---- etcd ---- */

/* Selects the directory of the private etcd's data: that of --disk, or a memory file system with enough space, or the
 * temporary directory on a disk. */
static void choose_place(bench *b) {
    const uint64_t needed = (uint64_t)(b->smoke ? 64 : 2048) << 20; /* bigstate alone needs 0.8 GiB */
    const char *usual = getenv("TMPDIR"), *place = "/dev/shm";
    char path[PATH_MAX];
    if (b->disk) {
        place = realpath(b->disk, path);
    } else if (machine_is_memory(place, needed)) {
        b->in_memory = true;
    } else {
        place = usual && usual[0] == '/' ? usual : "/tmp";
        b->in_memory = machine_is_memory(place, needed);
        if (!b->in_memory)
            fprintf(stderr, "etcdworker-bench: /dev/shm has less than %llu MiB free; etcd's data is on a disk, in %s\n",
                    (unsigned long long)(needed >> 20), place);
    }
    if (place)
        setenv("TMPDIR", place, 1);
}

static bool start_etcd(bench *b, dev_etcd **server, const sigset_t *stop) {
    ew_error err = {0};
    *server = NULL;
    b->endpoints = b->etcd;
    if (strcmp(b->etcd, "dev") != 0)
        return true;
    choose_place(b);
    if (dev_etcd_start(server, b->etcd_path, "", stop, &err) != EW_OK)
        return bench_fail(b, "%s", err.detail);
    b->endpoints = dev_etcd_endpoint(*server);
    return true;
}

/* ---- the report ---- */

static json_t *new_report(bench *b) {
    json_t *probe = child_run(b, "probe", "timeout_ms=10000");
    if (!probe)
        return NULL;
    char started[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    const char *etcd = json_string_value(json_object_get(probe, "etcd"));
    json_t *report = json_pack("{s: s, s: f, s: o, s: o, s: o, s: O}", "started", started, "seconds", 0.0, "machine",
                               machine_describe(), "versions", machine_versions(etcd), "options", machine_options(b),
                               "workloads", b->rows);
    json_decref(probe);
    return report;
}

/* Prints the table and writes the files. Returns whether all files could be written. */
static bool write_report(const bench *b, const json_t *report) {
    bool ok = true;
    report_table(stdout, report, b->wide);
    if (b->baseline_path)
        report_baseline(stdout, report, b->baseline, b->baseline_path);
    if (b->json_path && json_dump_file(report, b->json_path, JSON_INDENT(1) | JSON_REAL_PRECISION(8)) != 0) {
        fprintf(stderr, "etcdworker-bench: %s: %s\n", b->json_path, strerror(errno));
        ok = false;
    }
    if (b->html_path)
        ok = report_html(report, b->html_path) && ok;
    return ok;
}

static void run_workloads(bench *b, const cmdline *c) {
    for (size_t i = 0; i < c->count && !bench_interrupted(b); i++) {
        if (c->workloads[i]->run(b) || bench_interrupted(b))
            continue;
        b->failures++;
        progress_clear();
        fprintf(stderr, "etcdworker-bench: %s: %s\n", c->workloads[i]->name, b->why);
    }
    progress_clear();
}

/* Reports why no workload was started, and returns the exit status. */
static int not_begun(bench *b) {
    bool interrupted = b->signals >= 0 && bench_interrupted(b);
    const char *why = b->why[0] != '\0' ? b->why : "cannot start";
    fprintf(stderr, "etcdworker-bench: %s\n", interrupted ? "interrupted; nothing was finished" : why);
    return interrupted ? 128 + SIGINT : EXIT_FAILURE;
}

static int run(bench *b, const cmdline *c) {
    int64_t began_ns = now_ns();
    json_t *report = new_report(b);
    if (!report)
        return not_begun(b);
    run_workloads(b, c);
    json_object_set_new(report, "seconds", json_real((double)(now_ns() - began_ns) / 1e9));
    report_add_scaling(report);
    bool written = write_report(b, report);
    json_decref(report);
    if (b->interrupted) {
        fprintf(stderr, "etcdworker-bench: interrupted; only the complete runs are reported\n");
        return 128 + SIGINT;
    }
    return b->failures == 0 && written ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--child") == 0)
        return role_main(roles, argc - 2, argv + 2);
    if (argc > 1 && strcmp(argv[1], DEV_GUARD_FLAG) == 0)
        return dev_guard_main(argc, argv);
    bench b;
    cmdline c;
    int status = cmdline_parse(&c, &b, argc, argv);
    if (status >= 0)
        return status;

    /* Signals are read from a signalfd, not caught: each wait also polls it. */
    sigset_t stop, blocked;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    blocked = stop;
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
    b.signals = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
    b.salt = now_ns() / 1000000;
    b.rows = json_object();

    dev_etcd *server = NULL;
    bool started = b.signals >= 0 && b.rows && start_etcd(&b, &server, &stop);
    status = started ? run(&b, &c) : not_begun(&b);
    dev_etcd_stop(server);
    json_decref(b.rows);
    json_decref(b.baseline);
    if (b.signals >= 0)
        close(b.signals);
    return status;
}
