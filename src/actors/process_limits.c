#include <etcdworker/process.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Measured on two CPUs with nng 1.5 and gRPC 1.51: etcdworkerd with --elect, --submit, --publish-ticks and
 * --http-listen becomes ready with 29 threads and 18 descriptors, and with 350,000 kB of address space if malloc has
 * two arenas. The rest is for connections, name lookups, files, and the user's reactor. */
enum {
    THREADS = 20,            /* of the worker and of gRPC */
    NNG_THREADS = 11,        /* of nng, without those for each CPU; with them 13 on 2 CPUs, 88 on 64 */
    NNG_QUARTERS = 5,        /* quarters of a thread of nng for each CPU */
    FILES = 36,              /* in addition to those that are open */
    ARENAS = 2,              /* of malloc, if address space is limited: each reserves 64 MiB */
    SPACE_BYTES = 160 << 20, /* in addition to the threads' stacks */
    FAR_FILES = 4096,        /* a limit of this or more is not checked */
    MOST_THREADS = 1024,
};

static size_t needed_threads(void) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t count = THREADS + NNG_THREADS + (size_t)(cpus > 0 ? cpus : 1) * NNG_QUARTERS / 4;
    return count < MOST_THREADS ? count : MOST_THREADS;
}

/* ---- descriptors ---- */

static int check_files(ew_error *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FAR_FILES)
        return EW_OK;
    size_t open = 0;
    for (int fd = 0; fd < (int)limit.rlim_cur; fd++)
        open += fcntl(fd, F_GETFD) >= 0;
    if (open + FILES <= limit.rlim_cur)
        return EW_OK;
    return ew_fail(err, EW_ERR_SYSTEM, "RLIMIT_NOFILE (ulimit -n) is %llu, at least %zu are needed",
                   (unsigned long long)limit.rlim_cur, open + FILES);
}

/* ---- address space ---- */

static size_t stack_bytes(void) {
    pthread_attr_t attributes;
    size_t stack = 0, guard = 0;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    pthread_attr_getstacksize(&attributes, &stack);
    pthread_attr_getguardsize(&attributes, &guard);
    pthread_attr_destroy(&attributes);
    return stack + guard;
}

static size_t used_bytes(void) {
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%lu", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The stacks of the threads count for both limits. If a stack cannot be mapped, pthread_create fails with EAGAIN, as
 * for too many threads. */
static const struct {
    int resource;
    int access; /* protection of a mapping that counts for the limit */
    const char *name, *flag;
} spaces[] = {
    {RLIMIT_AS, PROT_NONE, "RLIMIT_AS", "ulimit -v"},
    {RLIMIT_DATA, PROT_READ | PROT_WRITE, "RLIMIT_DATA", "ulimit -d"},
};

static int check_space(size_t i, ew_error *err) {
    struct rlimit limit;
    if (getrlimit(spaces[i].resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return EW_OK;
    mallopt(M_ARENA_MAX, ARENAS); /* otherwise arenas take what the stacks need */
    size_t bytes = needed_threads() * stack_bytes() + SPACE_BYTES;
    void *space = mmap(NULL, bytes, spaces[i].access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space != MAP_FAILED) {
        munmap(space, bytes);
        return EW_OK;
    }
    return ew_fail(err, EW_ERR_SYSTEM,
                   "%s (%s) is %llu kB, at least %zu kB are needed with stacks of %zu kB (ulimit -s)", spaces[i].name,
                   spaces[i].flag, (unsigned long long)limit.rlim_cur / 1024, (used_bytes() + bytes) / 1024 + 1,
                   stack_bytes() / 1024);
}

static int check_spaces(ew_error *err) {
    int status = EW_OK;
    for (size_t i = 0; status == EW_OK && i < sizeof spaces / sizeof spaces[0]; i++)
        status = check_space(i, err);
    return status;
}

/* ---- threads ---- */

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
} gate;

static void *wait_at(void *arg) {
    gate *g = arg;
    pthread_mutex_lock(&g->lock);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* Returns how many of `count` threads can exist at the same time; `*problem` says why not more. */
static size_t try_threads(size_t count, int *problem) {
    gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    pthread_t threads[MOST_THREADS];
    size_t started = 0;
    *problem = 0;
    while (started < count && (*problem = pthread_create(&threads[started], NULL, wait_at, &g)) == 0)
        started++;
    pthread_mutex_lock(&g.lock);
    g.open = true;
    pthread_cond_broadcast(&g.changed);
    pthread_mutex_unlock(&g.lock);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started;
}

static int check_threads(ew_error *err) {
    int problem;
    size_t needed = needed_threads(), there = try_threads(needed, &problem);
    if (there == needed)
        return EW_OK;
    struct rlimit limit;
    if (problem == EAGAIN && getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        return ew_fail(err, EW_ERR_SYSTEM,
                       "RLIMIT_NPROC (ulimit -u) is %llu, at least %llu are needed: of %zu threads, %zu can be started",
                       (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_cur + needed - there, needed,
                       there);
    return ew_fail(err, EW_ERR_SYSTEM,
                   "of %zu threads, %zu can be started: %s; check the limits of memory and processes (pids.max) of the "
                   "container or the service",
                   needed, there, strerror(problem));
}

ew_status ew_process_check_limits(ew_error *err) {
    static atomic_bool passed; /* check only once: later, threads that were started since would count as missing */
    if (atomic_load(&passed))
        return EW_OK;
    int status = check_files(err);
    if (status == EW_OK)
        status = check_spaces(err);
    if (status == EW_OK)
        status = check_threads(err);
    atomic_store(&passed, status == EW_OK);
    return status;
}
