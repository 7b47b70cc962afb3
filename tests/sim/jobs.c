/* Runs seeds in several processes. The simulator has no threads, so fork is safe. Each process takes the next free
 * seed, runs it, and writes the result to a pipe that all of them share; the parent adds up. */
#include "seeds.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NONE UINT64_MAX

_Static_assert(sizeof(seed_result) <= PIPE_BUF, "each result must be written and read in one piece");

typedef struct job {
    pid_t pid;              /* 0: it has ended */
    _Atomic uint64_t index; /* of the seed that it runs, or NONE */
} job;

/* Memory that all processes share. */
typedef struct shared {
    _Atomic uint64_t next;
    _Atomic uint64_t failed; /* the lowest seed that failed; seeds after it are ignored */
    job jobs[];
} shared;

static volatile sig_atomic_t stop_wanted;

static void want_stop(int signal_number) {
    (void)signal_number;
    stop_wanted = 1;
}

static void give_up_behind(shared *all, uint64_t index) {
    uint64_t lowest = atomic_load(&all->failed);
    while (index < lowest && !atomic_compare_exchange_weak(&all->failed, &lowest, index))
        ;
}

/* ---- a process ---- */

static bool is_over(const seeds_plan *plan, const seeds_tally *t) {
    return plan->minutes > 0 && seeds_clock() - t->began >= plan->minutes * 60;
}

static void work(const seeds_plan *plan, const seeds_tally *t, shared *all, job *self, int results) {
    while (!is_over(plan, t)) {
        uint64_t index = atomic_fetch_add(&all->next, 1);
        if ((plan->minutes == 0 && index >= plan->count) || index > atomic_load(&all->failed))
            return;
        atomic_store(&self->index, index);
        seed_result r = seeds_run_one(plan->first + index, NULL, NULL);
        r.index = index;
        if (!r.ok)
            give_up_behind(all, index);
        /* Without a parent that reads, SIGPIPE ends the process. */
        if (write(results, &r, sizeof r) != (ssize_t)sizeof r)
            abort();
        atomic_store(&self->index, NONE);
    }
}

static bool start(const seeds_plan *plan, const seeds_tally *t, shared *all, unsigned number, const int pipe_ends[2]) {
    job *j = &all->jobs[number];
    atomic_init(&j->index, NONE);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        close(pipe_ends[0]);
        if (plan->silent && !freopen("/dev/null", "w", stderr))
            abort();
        work(plan, t, all, j, pipe_ends[1]);
        exit(0); /* runs the exit handlers of a sanitizer or of coverage */
    }
    j->pid = pid > 0 ? pid : 0;
    return pid > 0;
}

/* ---- the parent ---- */

/* Handles a process that ended in the middle of a seed: a core's own assertion failed, or a signal killed it. */
static void look_at(seeds_tally *t, shared *all, job *j, int status) {
    j->pid = 0;
    if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) || t->stopped)
        return;
    seed_result r = {.index = atomic_load(&j->index)};
    if (r.index == NONE)
        r.index = t->digested;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        snprintf(r.failure, sizeof r.failure, "an assertion of a core failed");
    else if (WIFSIGNALED(status))
        snprintf(r.failure, sizeof r.failure, "its process was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(r.failure, sizeof r.failure, "its process exited with status %d", WEXITSTATUS(status));
    seeds_take(t, &r);
    give_up_behind(all, r.index);
}

static void look_for_ended(seeds_tally *t, shared *all, unsigned count, int options) {
    for (unsigned i = 0; i < count; i++) {
        job *j = &all->jobs[i];
        int status;
        pid_t pid;
        while (j->pid && (pid = waitpid(j->pid, &status, options)) != 0) {
            if (pid > 0)
                look_at(t, all, j, status);
            else if (errno != EINTR)
                j->pid = 0;
        }
    }
}

static void stop_all(shared *all, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (all->jobs[i].pid)
            kill(all->jobs[i].pid, SIGKILL);
}

/* Reads results until the last process has closed its end of the pipe. */
static void add_up(seeds_tally *t, shared *all, unsigned count, int results) {
    enum { LOOK_MS = 500 };
    for (;;) {
        struct pollfd ready = {.fd = results, .events = POLLIN};
        seed_result r;
        ssize_t got = -1;
        if (poll(&ready, 1, LOOK_MS) > 0) {
            got = read(results, &r, sizeof r);
            if (got == 0)
                return;
        }
        if (got == (ssize_t)sizeof r)
            seeds_take(t, &r);
        if (stop_wanted && !t->stopped) {
            t->stopped = true;
            stop_all(all, count);
        }
        look_for_ended(t, all, count, WNOHANG);
        seeds_show_progress(t);
    }
}

bool seeds_run_jobs(const seeds_plan *plan, seeds_tally *t) {
    size_t size = sizeof(shared) + plan->jobs * sizeof(job);
    shared *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int pipe_ends[2];
    if (all == MAP_FAILED || pipe(pipe_ends) != 0)
        return false;
    atomic_init(&all->next, 0);
    atomic_init(&all->failed, NONE);
    fflush(stdout);
    struct sigaction stop = {.sa_handler = want_stop};
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    unsigned started = 0;
    while (started < plan->jobs && start(plan, t, all, started, pipe_ends))
        started++;
    int why = errno;
    close(pipe_ends[1]);
    if (started == plan->jobs) {
        add_up(t, all, started, pipe_ends[0]);
    } else {
        stop_all(all, started);
    }
    look_for_ended(t, all, started, 0);
    close(pipe_ends[0]);
    munmap(all, size);
    errno = why;
    return started == plan->jobs;
}
