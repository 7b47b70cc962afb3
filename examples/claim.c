/* A decision of a tick, done right: a member of a crew claims jobs, oldest first, until all are claimed.
 *
 *     claim [ENDPOINTS [MEMBER]]
 *
 * Jobs are keys below /claims/jobs/, members below /claims/crew/, and the member that works on the job NAME is the
 * value of /claims/taken/NAME. Any number of these programs may run, while others add and delete jobs and members.
 *
 * The tick decides on what it reads: this is the oldest free job, and the member is there. By the time its group
 * commits, the job may be deleted, the member gone, or the job taken by another. ew_group_expect says that the group
 * stands on these three keys: if any of them has changed, etcd refuses the transaction, the group is dropped, and the
 * next tick decides on what is there then. So a claim always implies a job and a member. ew_group_guard would not do: a
 * refused group is evaluated again on the newer state, in which it would guard the job's absence. A tick that reads
 * only little could say ew_group_expect_reads(g) instead, with `.track_reads = true` in its reactor. */
#include <etcdworker/etcdworker.h>

#include <stdio.h>

#define JOBS  "/claims/jobs/"
#define CREW  "/claims/crew/"
#define TAKEN "/claims/taken/"

typedef struct claimer {
    const char *member;
    char job[256]; /* that was decided on last */
} claimer;

static ew_slice join(char *out, size_t size, const char *folder, ew_slice name) {
    int len = snprintf(out, size, "%s%.*s", folder, (int)name.len, (const char *)name.data);
    return (ew_slice){out, len < (int)size ? (size_t)len : size - 1};
}

static void decided(void *arg, int status, int64_t revision) {
    const claimer *c = arg;
    if (status == EW_OK)
        printf("%s took %s at revision %lld\n", c->member, c->job, (long long)revision);
    else if (status == EW_ERR_STALE)
        printf("%s was late for %s\n", c->member, c->job); /* the next tick looks again */
}

/* The name of the job that was created first and is not taken; false if there is none. */
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
    return EW_OK; /* a group keeps its first error, and the worker looks at it */
}

int main(int argc, char **argv) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    claimer c = {.member = argc > 2 ? argv[2] : "alice"};
    ew_error err = {0};
    ew_worker *w = NULL;

    ew_options *o = ew_options_new();
    int status = ew_options_set(o, "prefix", "/claims", &err);
    if (status == EW_OK && argc > 1)
        status = ew_options_set(o, "endpoints", argv[1], &err);
    if (status == EW_OK)
        status = ew_worker_create(&w, o, &reactor, &c, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    if (status != EW_OK)
        fprintf(stderr, "claim: %s: %s\n", ew_strerror(status), err.detail);
    ew_worker_destroy(w);
    ew_options_free(o);
    return status == EW_OK ? 0 : 1;
}
