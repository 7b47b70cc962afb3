/* The worker processes: starts them, reads their journals, starts them again. */
#include "chaos/fault.h"

#include "lib/process.h"

#include <etcdworker/error.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 32, AGAIN_US = 20000 };

static void log_path(const world *w, unsigned worker, char *out, size_t size) {
    snprintf(out, size, "%s/log-%u", w->directory, worker);
}

static char *word(const char *name, const char *value) {
    char *out;
    if (asprintf(&out, "%s=%s", name, value) < 0)
        process_die("out of memory");
    return out;
}

static char *endpoints_of(const world *w, const worker_process *c) {
    char list[128] = "";
    for (int i = 0; i < w->nodes; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? "," : "", fault_proxy_endpoint(c->proxies[i]));
    }
    return word("endpoints", list);
}

static char *self_path(void) {
    static char path[256];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len <= 0)
        process_die("/proc/self/exe: %s", strerror(errno));
    path[len] = '\0';
    return path;
}

static void launch(world *w, unsigned number) {
    worker_process *c = &w->workers[number];
    char worker[16], run[16], path[256], id[48];
    c->id.run++;
    snprintf(worker, sizeof worker, "%u", number);
    snprintf(run, sizeof run, "%u", c->id.run);
    snprintf(id, sizeof id, "chaos-%u-%u-%u", w->round, number, c->id.run);
    char *argv[WORDS_MAX] = {self_path(), "--worker", worker, run, w->directory};
    int argc = 5, first = argc;
    argv[argc++] = endpoints_of(w, c);
    argv[argc++] = word("user", WORLD_USER);
    argv[argc++] = word("password_file", w->password_file);
    argv[argc++] = word("prefix", w->prefix);
    argv[argc++] = word("name", id);
    argv[argc++] = word("worker_id", id);
    argv[argc++] = word("session_ttl_s", WORLD_TTL_S);
    argv[argc++] = word("tick_interval_ms", "40");
    argv[argc++] = word("max_ticks_per_second", "25");
    int last = argc;
    for (int i = 0; w->extra[i]; i++)
        argv[argc++] = (char *)(uintptr_t)w->extra[i];
    journal_path(w->directory, c->id, path, sizeof path);
    c->journal = journal_open(path);
    c->offset = 0;
    c->killed = c->ended = false;
    c->undecided = 0;
    log_path(w, number, path, sizeof path);
    c->pid = process_start(argv, path);
    for (int i = first; i < last; i++)
        free(argv[i]);
}

void workers_open(world *w) {
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_process *c = &w->workers[i];
        *c = (worker_process){.id = {.worker = i}, .control = control_open(w->directory, i), .journal = -1};
        memset(c->control, 0, sizeof *c->control);
        for (int n = 0; n < w->nodes; n++)
            c->proxies[n] = fault_proxy_open(w->node[n]->endpoint);
        launch(w, i);
    }
}

void workers_close(world *w) {
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_process *c = &w->workers[i];
        if (c->pid > 0)
            process_end(c->pid, SIGKILL);
        for (int n = 0; n < w->nodes; n++)
            fault_proxy_close(c->proxies[n]);
        control_close(c->control);
        if (c->journal >= 0)
            close(c->journal);
        *c = (worker_process){.journal = -1};
    }
}

void workers_signal(world *w, unsigned worker, int signal) {
    worker_process *c = &w->workers[worker];
    c->killed = c->killed || signal == SIGKILL;
    if (c->pid > 0)
        kill(c->pid, signal);
}

bool workers_are_gone(const world *w) {
    for (unsigned i = 0; i < WORKERS; i++)
        if (w->workers[i].pid > 0)
            return false;
    return true;
}

void workers_show_logs(const world *w) {
    for (unsigned i = 0; i < WORKERS; i++) {
        char path[256], text[8192];
        log_path(w, i, path, sizeof path);
        process_run((char *[]){"tail", "-n", "25", path, NULL}, text, sizeof text);
        fprintf(stderr, "-- last lines of worker %u's log\n%s", i, text);
    }
}

/* ---- journals ---- */

static void committed(world *w, worker_process *c, const record *r) {
    int64_t made_us = ledger_made_us(w->ledger, r->id);
    c->committed++;
    if (c->await_us != 0 && c->back_us == 0 && made_us >= c->await_us)
        c->back_us = r->now_us;
    if (c->gap_from_us != 0) {
        int64_t from_us = c->last_done_us > c->gap_from_us ? c->last_done_us : c->gap_from_us;
        if (r->now_us - from_us > c->gap_us)
            c->gap_us = r->now_us - from_us;
    }
    c->last_done_us = r->now_us;
}

static void read_journal(world *w, worker_process *c) {
    record r;
    while (c->journal >= 0 && journal_read(c->journal, &c->offset, &r)) {
        ledger_record(w->ledger, &r);
        c->undecided += r.type == RECORD_MADE;
        c->undecided -= r.type == RECORD_DONE && c->undecided > 0;
        if (r.type == RECORD_MADE)
            c->last_made_us = r.now_us;
        if (r.type == RECORD_DONE && r.status == EW_OK && r.amount != 0)
            committed(w, c, &r);
        if (r.type == RECORD_PROBLEM)
            world_problem(w, "worker %u.%u: %s", r.id.worker, r.id.run, r.text);
        if (r.type != RECORD_ENDED)
            continue;
        c->ended = true;
        c->end_status = r.status;
        c->ended_run = r.id.run;
        bool asked = r.status == EW_ERR_CANCELLED && !w->working;
        if (!asked && !fault_may_end(w->injection, &r))
            world_problem(w, "worker %u.%u ended with %s, which this fault may not cause: %s", r.id.worker, r.id.run,
                          ew_errname(r.status), r.text);
    }
}

static void reap(world *w, worker_process *c) {
    int status;
    if (c->pid <= 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    read_journal(w, c); /* the last records */
    if (!c->killed && !(c->ended && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        world_problem(w, "worker %u.%u: the process ended with %s %d", c->id.worker, c->id.run,
                      WIFSIGNALED(status) ? "signal" : "status",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    ledger_run_over(w->ledger, c->id, c->ended);
    char path[256];
    journal_path(w->directory, c->id, path, sizeof path);
    unlink(path); /* the ledger has it */
    close(c->journal);
    c->journal = -1;
    c->pid = 0;
    c->again_us = journal_now_us() + AGAIN_US;
}

void workers_pump(world *w) {
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_process *c = &w->workers[i];
        read_journal(w, c);
        reap(w, c);
        if (c->pid == 0 && w->working && journal_now_us() >= c->again_us)
            launch(w, i);
    }
}

/* ---- their state ---- */

void workers_await(world *w, unsigned set, int64_t since_us) {
    for (unsigned i = 0; i < WORKERS; i++) {
        if ((set & 1u << i) != 0) {
            w->workers[i].await_us = since_us;
            w->workers[i].back_us = 0;
        }
    }
}

bool workers_are_back(const world *w, unsigned set) {
    for (unsigned i = 0; i < WORKERS; i++)
        if ((set & 1u << i) != 0 && w->workers[i].back_us == 0)
            return false;
    return true;
}

void workers_measure_gaps(world *w) {
    int64_t now_us = journal_now_us();
    for (unsigned i = 0; i < WORKERS; i++) {
        w->workers[i].gap_from_us = now_us;
        w->workers[i].gap_us = 0;
    }
}
