/* soak: workers at steady work for the given time, on a real etcd whose history is compacted, over fault proxies that
 * are cut now and then, beside workers that live for a second. At the end every commit must have been counted exactly
 * once, and memory, open files and threads must not have grown. docs/testing.md has the figures of an hour. */
#include "lib/etcd_server.h"
#include "lib/fault_proxy.h"
#include "lib/process.h"

#include <etcdworker/etcdworker.h>

#include <dirent.h>
#include <getopt.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    STEADY = 2,
    SHORT_TICKS = 20, /* of a worker that lives for a second */
    BEAT_MS = 50,     /* between two external changes */
    NOISE_KEYS = 100,
    CUT_EVERY_MS = 30000, /* or an eighth of the time */
    COMPACT_EVERY_S = 5,
    KEPT_REVISIONS = 1000,
    PARTS = 10, /* lines of the table, each for an equal part of the time; the first is for warming up */
    /* Allowed growth of memory between the second part and the last: pages that the allocator and gRPC's pools use
     * late. A leak of 10 bytes a tick would be 7 MB in an hour. */
    GROWTH_KB = 2048,
    /* Allowed growth of threads and open files between the halves of the time. A leak of one in each short life would
     * be seven more even in the 20 s of the test. */
    SPARE = 4,
};

/* AddressSanitizer keeps freed memory for a while, and finds leaks itself. */
#ifdef EW_SANITIZED
enum { MEMORY_TELLS = 0 };
#else
enum { MEMORY_TELLS = 1 };
#endif

static const char *const total_key = "/soak/total";

/* ---- what is measured ---- */

typedef struct usage {
    long rss_kb, files, threads;
    uint64_t commits;
} usage;

static usage most[PARTS];
static atomic_uint_fast64_t asked, committed;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_ms(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static long entries(const char *folder) {
    long n = -2; /* without . and .. */
    DIR *d = opendir(folder);
    if (!d)
        process_die("cannot read %s", folder);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static long rss_kb(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        process_die("cannot read /proc/self/statm");
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void raise_to(long *highest, long value) {
    if (value > *highest)
        *highest = value;
}

static void sample(usage *u) {
    raise_to(&u->rss_kb, rss_kb());
    raise_to(&u->files, entries("/proc/self/fd"));
    raise_to(&u->threads, entries("/proc/self/task"));
    u->commits = atomic_load(&committed);
}

/* ---- workers ---- */

typedef struct worker_state {
    int64_t left; /* ticks; negative: unlimited */
    ew_worker *worker;
} worker_state;

static int one_more(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t value = 0;
    if (current && !ew_slice_int(current->value, &value))
        return EW_ERR_REACTOR;
    return ew_value_set_int(next, value + 1);
}

static void done(void *arg, ew_status status, int64_t revision) {
    (void)arg, (void)revision;
    if (status == EW_OK)
        atomic_fetch_add(&committed, 1);
}

static int tick(void *self, ew_tick *t) {
    worker_state *c = self;
    if (c->left == 0)
        return EW_FINISHED;
    c->left -= c->left > 0;
    ew_group *g = ew_tick_group(t);
    int status = ew_group_modify(g, ew_str(total_key), one_more, NULL, NULL);
    if (status == EW_OK)
        status = ew_group_on_done(g, done, NULL);
    atomic_fetch_add(&asked, 1);
    return status;
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

static void must(int status, const ew_error *err, const char *what) {
    if (status != EW_OK)
        process_die("%s: %s: %s", what, ew_strerror(status), err->detail);
}

static void set(ew_options *o, const char *name, const char *value) {
    ew_error err = {0};
    must(ew_options_set(o, name, value, &err), &err, name);
}

static void begin(worker_state *c, const etcd_server *etcd, const char *endpoint, const char *name) {
    ew_error err = {0};
    ew_options *o = etcd_server_options(etcd);
    if (endpoint)
        set(o, "endpoints", endpoint);
    set(o, "prefix", "/soak");
    set(o, "name", name);
    set(o, "max_ticks_per_second", "100");
    set(o, "tick_interval_ms", "10");
    must(ew_worker_open(&c->worker, o, &reactor, c, &err), &err, name);
    must(ew_worker_start(c->worker, &err), &err, name);
    ew_options_free(o);
}

/* ---- external changes and faults ---- */

typedef struct soak {
    int64_t began_ms, length_ms, cut_every_ms;
    etcd_server *etcd;
    ew_client *client;
    fault_proxy *proxies[STEADY];
    worker_state steady[STEADY];
    unsigned beat;
    uint64_t short_lives, cuts, compactions;
    int64_t next_cut_ms, mend_ms, next_compaction_ms;
    int64_t revision;
} soak;

static void change_something(soak *s) {
    char key[64], value[256];
    ew_error err = {0};
    ew_result *r = NULL;
    snprintf(key, sizeof key, "/soak/noise/%u", s->beat % NOISE_KEYS);
    memset(value, 'a' + (int)(s->beat % 26), sizeof value);
    ew_slice v = {.data = value, .len = 1 + s->beat % sizeof value};
    if (s->beat % 3 == 0)
        must(ew_client_delete(s->client, ew_keys_one(ew_str(key)), NULL, NULL, &err), &err, "delete");
    else
        must(ew_client_put(s->client, ew_str(key), v, NULL, &r, &err), &err, "put");
    if (r)
        s->revision = ew_result_revision(r);
    ew_result_free(r);
    s->beat++;
}

/* Runs one short life after the other. */
static void live_shortly(soak *s) {
    char name[32];
    ew_error err = {0};
    worker_state c = {.left = SHORT_TICKS};
    snprintf(name, sizeof name, "short-%llu", (unsigned long long)s->short_lives++);
    begin(&c, s->etcd, NULL, name);
    must(ew_worker_join(c.worker, &err), &err, name);
    ew_worker_close(c.worker);
}

static void break_and_mend(soak *s, int64_t now) {
    if (now >= s->next_cut_ms) {
        fault_proxy_cut(s->proxies[s->cuts++ % STEADY]);
        s->next_cut_ms = now + s->cut_every_ms;
        s->mend_ms = now + 500;
    }
    if (s->mend_ms != 0 && now >= s->mend_ms) {
        for (int i = 0; i < STEADY; i++)
            fault_proxy_mend(s->proxies[i]);
        s->mend_ms = 0;
    }
}

static void compact(soak *s, int64_t now) {
    ew_error err = {0};
    if (now < s->next_compaction_ms || s->revision <= KEPT_REVISIONS)
        return;
    must(ew_client_compact(s->client, s->revision - KEPT_REVISIONS, NULL, &err), &err, "compact");
    s->compactions++;
    s->next_compaction_ms = now + COMPACT_EVERY_S * 1000;
}

static void open_all(soak *s) {
    s->etcd = etcd_server_start(NULL);
    s->client = etcd_server_client(s->etcd);
    for (int i = 0; i < STEADY; i++) {
        char name[16];
        snprintf(name, sizeof name, "steady-%d", i);
        s->proxies[i] = fault_proxy_open(s->etcd->address);
        s->steady[i] = (worker_state){.left = -1};
        begin(&s->steady[i], s->etcd, fault_proxy_endpoint(s->proxies[i]), name);
    }
    s->began_ms = now_ms();
    s->next_cut_ms = s->began_ms + 1000;
}

static void print_part(int part, const usage *u, uint64_t before) {
    printf("%4d %10ld %6ld %8ld %9llu\n", part + 1, u->rss_kb, u->files, u->threads,
           (unsigned long long)(u->commits - before));
    fflush(stdout);
}

static void go(soak *s) {
    int part = 0;
    printf("part     rss kB  files  threads   commits\n");
    for (int64_t now; (now = now_ms()) < s->began_ms + s->length_ms;) {
        int at = (int)((now - s->began_ms) * PARTS / s->length_ms);
        if (at > part) {
            print_part(part, &most[part], part > 0 ? most[part - 1].commits : 0);
            part = at;
        }
        change_something(s);
        break_and_mend(s, now);
        compact(s, now);
        if (s->beat % 20 == 0)
            live_shortly(s);
        sample(&most[part]);
        pause_ms(BEAT_MS);
    }
    print_part(part, &most[part], part > 0 ? most[part - 1].commits : 0);
}

/* ---- the verdict ---- */

static int64_t total(soak *s) {
    ew_error err = {0};
    ew_result *r = NULL;
    int64_t value = 0;
    must(ew_client_get(s->client, ew_keys_one(ew_str(total_key)), NULL, &r, &err), &err, "get");
    if (ew_result_count(r) != 1 || !ew_slice_int(ew_result_at(r, 0)->value, &value))
        process_die("%s is not a number", total_key);
    ew_result_free(r);
    return value;
}

/* Returns the highest numbers of files and threads in the parts from `from` to `to` - 1. */
static usage highest(int from, int to) {
    usage u = {0};
    for (int part = from; part < to; part++) {
        raise_to(&u.files, most[part].files);
        raise_to(&u.threads, most[part].threads);
    }
    return u;
}

static int complain(const char *what, long from, long to) {
    printf("soak: %s grew from %ld to %ld\n", what, from, to);
    return 1;
}

static int judge(soak *s) {
    int bad = 0;
    ew_error err = {0};
    for (int i = 0; i < STEADY; i++) {
        ew_worker_stats stats = {.size = sizeof stats};
        ew_worker_get_stats(s->steady[i].worker, &stats);
        printf("worker %d: %llu ticks, %llu reconnects, %llu snapshots, %llu refused\n", i,
               (unsigned long long)stats.ticks, (unsigned long long)stats.reconnects,
               (unsigned long long)stats.snapshots, (unsigned long long)stats.groups_refused);
        ew_worker_stop(s->steady[i].worker);
        int status = ew_worker_join(s->steady[i].worker, &err);
        if (status != EW_ERR_CANCELLED) {
            printf("soak: worker %d ended with %s: %s\n", i, ew_strerror(status), err.detail);
            bad = 1;
        }
        if (s->cuts > (uint64_t)i && stats.reconnects == 0) {
            printf("soak: void: worker %d never lost its connection\n", i);
            bad = 1;
        }
        ew_worker_close(s->steady[i].worker);
    }
    uint64_t reported = atomic_load(&committed);
    int64_t there = total(s);
    printf("%llu groups, %llu reported as committed, %lld counted by etcd; %llu short lives, %llu cuts, %llu "
           "compactions\n",
           (unsigned long long)atomic_load(&asked), (unsigned long long)reported, (long long)there,
           (unsigned long long)s->short_lives, (unsigned long long)s->cuts, (unsigned long long)s->compactions);
    if (reported == 0 || reported != (uint64_t)there || s->compactions == 0 || s->short_lives == 0) {
        printf("soak: %s\n",
               reported == (uint64_t)there ? "void: nothing was done" : "a commit was lost or duplicated");
        bad = 1;
    }
    /* The memory of the first part is still growing. */
    const usage *early = &most[1], *late = &most[PARTS - 1];
    if (MEMORY_TELLS && late->rss_kb > early->rss_kb + GROWTH_KB)
        bad = complain("memory, in kB,", early->rss_kb, late->rss_kb);
    /* While a connection is made again there are more files and threads. Each half has many such times, a single part
     * may have none. No short life is in progress when a sample is taken. */
    const usage first = highest(0, PARTS / 2), second = highest(PARTS / 2, PARTS);
    if (second.files > first.files + SPARE)
        bad = complain("open files", first.files, second.files);
    if (second.threads > first.threads + SPARE)
        bad = complain("threads", first.threads, second.threads);
    return bad;
}

static void close_all(soak *s) {
    for (int i = 0; i < STEADY; i++)
        fault_proxy_close(s->proxies[i]);
    ew_client_close(s->client);
    etcd_server_free(s->etcd);
}

int main(int argc, char **argv) {
    /* Else each thread of a short life may take an arena of its own, and memory grows until there are 8 for each
     * CPU. */
    mallopt(M_ARENA_MAX, 1);
    static const struct option options[] = {{"minutes", required_argument, NULL, 'm'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    static soak s;
    int64_t seconds = 3600;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        if (c == 'm' || c == 's')
            seconds = strtoll(optarg, &end, 10) * (c == 'm' ? 60 : 1);
        if (c == 'h' || !end || end == optarg || *end != '\0' || seconds < 10 || seconds > 1000000) {
            fputs("usage: soak [--minutes M | --seconds N]   steady work for an hour, or for the given time (at least "
                  "10 s)\n",
                  c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    s.length_ms = seconds * 1000;
    s.cut_every_ms = s.length_ms / 8 < CUT_EVERY_MS ? s.length_ms / 8 : CUT_EVERY_MS;
    open_all(&s);
    go(&s);
    int bad = judge(&s);
    close_all(&s);
    return bad;
}
