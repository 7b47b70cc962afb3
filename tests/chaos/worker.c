#include "chaos/worker.h"

#include "chaos/reactor.h"
#include "lib/process.h"
#include "lib/submitters.h"

#include <etcdworker/etcdworker.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { REPORT_MS = 10 };

control *control_open(const char *directory, unsigned worker) {
    char path[256];
    snprintf(path, sizeof path, "%s/control-%u", directory, worker);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(control)) != 0)
        process_die("%s: %s", path, strerror(errno));
    control *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (c == MAP_FAILED)
        process_die("%s: %s", path, strerror(errno));
    close(fd);
    return c;
}

void control_close(control *c) {
    if (c)
        munmap(c, sizeof *c);
}

void submits_path(const char *directory, unsigned worker, char *out, size_t size) {
    snprintf(out, size, "%s/at-%u", directory, worker);
}

void journal_path(const char *directory, group_id run, char *out, size_t size) {
    snprintf(out, size, "%s/journal-%u-%u", directory, run.worker, run.run);
}

static void write_log(void *arg, const ew_log_record *r) {
    char line[512];
    int64_t now_us = journal_now_us();
    const group_id *id = arg;
    int used = snprintf(line, sizeof line, "%lld.%06lld %u.%u %s: %s", (long long)(now_us / 1000000),
                        (long long)(now_us % 1000000), id->worker, id->run, r->area, r->message);
    for (size_t i = 0; i < r->field_count && used < (int)sizeof line; i++) {
        const ew_log_field *f = &r->fields[i];
        char *at = line + used;
        size_t space = sizeof line - (size_t)used;
        used += f->text ? snprintf(at, space, " %s=%s", f->name, f->text)
                        : snprintf(at, space, " %s=%lld", f->name, (long long)f->number);
    }
    fprintf(stderr, "%s\n", line);
}

/* ---- one run ---- */

typedef struct run {
    ew_worker *worker;
    _Atomic bool over;
    int status;
    ew_error err;
} run;

static void *join(void *arg) {
    run *r = arg;
    r->status = ew_worker_run(r->worker, &r->err);
    r->over = true;
    return NULL;
}

static void report(const run *r, control *c) {
    ew_worker_stats s = {.size = sizeof s};
    if (ew_worker_get_stats(r->worker, &s) != EW_OK)
        return;
    c->ready = s.ready;
    c->no_space = s.no_space;
    c->ticks = s.ticks;
    c->slow_ticks = s.slow_ticks;
    c->snapshots = s.snapshots;
    c->reconnects = s.reconnects;
    c->refused = s.groups_refused;
    c->txns = s.txns;
    c->resolved = s.txns_resolved;
    c->repeats = s.submit_repeats;
    c->rewritten = s.histories_rewritten;
}

static void run_worker(run *r, teller *b) {
    pthread_t thread;
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    if (pthread_create(&thread, NULL, join, r) != 0)
        process_die("cannot create a thread");
    while (!r->over) {
        if (sigtimedwait(&end, NULL, &(struct timespec){.tv_nsec = REPORT_MS * 1000000L}) == SIGTERM)
            ew_worker_stop(r->worker);
        report(r, b->control);
    }
    pthread_join(thread, NULL);
}

static ew_options *read_options(int argc, char **argv) {
    ew_options *o = ew_options_new();
    ew_error err = {0};
    for (int i = 0; i < argc && o; i++) {
        char *sign = strchr(argv[i], '=');
        if (!sign)
            process_die("%s: NAME=VALUE", argv[i]);
        *sign = '\0';
        if (ew_options_set(o, argv[i], sign + 1, &err) != EW_OK)
            process_die("%s", err.detail);
    }
    return o;
}

int chaos_worker(int argc, char **argv) {
    if (argc < 4)
        process_die("--worker NUMBER RUN DIRECTORY NAME=VALUE...");
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &end, NULL);
    static teller b; /* static: the log callback may use it until the process ends */
    b.id = (group_id){.worker = (uint32_t)strtoul(argv[1], NULL, 10), .run = (uint32_t)strtoul(argv[2], NULL, 10)};
    if (b.id.worker >= WORKERS)
        process_die("--worker %s: there are only %d workers", argv[1], WORKERS);
    if (b.id.run % 2 == 0) /* some runs with and some without, as applications do */
        ew_process_prepare(-1, NULL);
    const char *level = getenv("CHAOS_LOG");
    ew_log_set(write_log, &b.id, level && strcmp(level, "debug") == 0 ? EW_LOG_DEBUG : EW_LOG_INFO);
    ew_options *o = read_options(argc - 4, argv + 4);
    char path[256], url[256];
    submits_path(argv[3], b.id.worker, path, sizeof path);
    if (ew_options_int(o, "submit") != 0)
        submitters_serve(o, path, url, sizeof url);
    journal_path(argv[3], b.id, path, sizeof path);
    b.journal = journal_open(path);
    b.control = control_open(argv[3], b.id.worker);
    b.control->run = b.id.run;
    b.random = 88172645463325252u + (uint64_t)journal_now_us() + b.id.worker;
    snprintf(b.prefix, sizeof b.prefix, "%s", ew_options_text(o, "prefix"));
    run r = {0};
    journal_write(b.journal, &(record){.type = RECORD_STARTED, .id = b.id});
    if (ew_worker_open(&r.worker, o, &teller_reactor, &b, &r.err) != EW_OK)
        process_die("%s", r.err.detail);
    run_worker(&r, &b);
    if (b.undecided != 0)
        teller_problem(&b, "%u groups were never reported", b.undecided);
    record ended = {.type = RECORD_ENDED, .id = b.id, .status = r.status};
    snprintf(ended.text, sizeof ended.text, "%.95s", r.err.detail);
    ew_worker_close(r.worker);
    ew_options_free(o);
    journal_write(b.journal, &ended);
    control_close(b.control);
    close(b.journal);
    return 0;
}
