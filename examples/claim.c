/* A decision made in a tick, correctly: a member of a crew claims jobs, oldest first, until all jobs are claimed.
 *
 *     claim [ENDPOINTS [MEMBER]]
 *
 * Jobs are keys below /claims/jobs/, members are keys below /claims/crew/, and the value of /claims/taken/NAME is the
 * member that works on the job NAME. Any number of these programs may run, while other clients add and delete jobs and
 * members.
 *
 * The tick decides from what it reads: which job is the oldest free one, and that the member exists. Before its group
 * commits, the job or the member may be deleted, or another member may take the job. ew_group_expect makes these three
 * keys conditions of the group: if one of them has changed, etcd refuses the transaction, the group is dropped, and the
 * next tick decides again from the newer state. So every claim has an existing job and member. ew_group_guard is not
 * enough: a refused group is evaluated again on the newer state, where it would guard the job's absence. A tick that
 * reads only a little can call ew_group_expect_reads(g) instead, with `.track_reads = true` in its reactor. */
#include <etcdworker/etcdworker.h>

#include <stdio.h>

#define JOBS  "/claims/jobs/"
#define CREW  "/claims/crew/"
#define TAKEN "/claims/taken/"

typedef struct claimer {
    const char *member;
    char job[256]; /* the job of the last decision */
} claimer;

static ew_slice join(char *out, size_t size, const char *folder, ew_slice name) {
    int len = snprintf(out, size, "%s%.*s", folder, (int)name.len, (const char *)name.data);
    return (ew_slice){out, len < (int)size ? (size_t)len : size - 1};
}

static void decided(void *arg, ew_status status, int64_t revision) {
    const claimer *c = arg;
    if (status == EW_OK)
        printf("%s took %s at revision %lld\n", c->member, c->job, (long long)revision);
    else if (status == EW_ERR_STALE)
        printf("%s did not take %s: a key has changed\n", c->member, c->job); /* the next tick decides again */
}

/* Finds the free job that was created first; false if there is none. */
static bool find_job(const ew_tick *t, ew_slice *name) {
    char key[512];
    int64_t oldest = INT64_MAX;
    ew_entry job = {0}, taken;
    while (ew_tick_scan(t, EW_STR(JOBS), &job)) {
        const size_t skip = sizeof JOBS - 1;
        const ew_slice its = {(const char *)job.key.data + skip, job.key.len - skip};
        if (job.create_revision < oldest &&
            ew_tick_get(t, join(key, sizeof key, TAKEN, its), &taken) == EW_ERR_NOT_FOUND) {
            oldest = job.create_revision;
            *name = its;
        }
    }
    return oldest < INT64_MAX;
}

static int tick(void *self, ew_tick *t) {
    claimer *c = self;
    char job[512], member[512], taken[512];
    ew_slice name;
    ew_entry e;
    if (!find_job(t, &name))
        return EW_FINISHED;
    const ew_slice member_key = join(member, sizeof member, CREW, ew_str(c->member));
    if (ew_tick_get(t, member_key, &e) == EW_ERR_NOT_FOUND)
        return ew_tick_fail(t, EW_ERR_REACTOR, "there is no member %s", member);

    snprintf(c->job, sizeof c->job, "%.*s", (int)name.len, (const char *)name.data);
    const ew_slice taken_key = join(taken, sizeof taken, TAKEN, name);
    ew_group *g = ew_tick_group(t);
    ew_group_expect(g, join(job, sizeof job, JOBS, name));
    ew_group_expect(g, member_key);
    ew_group_expect(g, taken_key);
    ew_group_put(g, taken_key, ew_str(c->member));
    ew_group_on_done(g, decided, c);
    return EW_OK; /* the group keeps its first error, and the worker checks it */
}

int main(int argc, char **argv) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    claimer c = {.member = argc > 2 ? argv[2] : "alice"};
    ew_error err = {0};
    ew_worker *w = NULL;

    ew_options *o = ew_options_new();
    ew_status status = ew_options_set(o, "prefix", "/claims", &err);
    if (status == EW_OK && argc > 1)
        status = ew_options_set(o, "endpoints", argv[1], &err);
    if (status == EW_OK)
        status = ew_worker_open(&w, o, &reactor, &c, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    if (status != EW_OK)
        fprintf(stderr, "claim: %s: %s\n", ew_strerror(status), err.detail);
    ew_worker_close(w);
    ew_options_free(o);
    return status == EW_OK ? 0 : 1;
}
