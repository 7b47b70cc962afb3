/* A reactor with a model of its own: it prints the leader of an election that uses etcdctl's keys.
 *
 *     leader_view ELECTION [ENDPOINTS]         in another terminal: etcdctl elect ELECTION me
 *
 * An election is a prefix with one key for each candidate; the candidate with the lowest create revision is the leader.
 * An event has the revision of the key's last change, and a candidate's key is written once, so the model keeps the
 * revision of each key's first event. */
#include <etcdworker/etcdworker.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate {
    struct candidate *next;
    int64_t since; /* revision of the key's first event */
    char name[64];
    char key[]; /* NUL-terminated */
} candidate;

typedef struct view {
    candidate *candidates;
    char leader[64];
    size_t seen; /* number of leaders so far */
    size_t most; /* end after this many leaders; 0: never */
} view;

static candidate **find(view *v, ew_slice key) {
    candidate **at = &v->candidates;
    while (*at && !ew_slice_equal(ew_str((*at)->key), key))
        at = &(*at)->next;
    return at;
}

static ew_status reset(void *self) {
    view *v = self;
    while (v->candidates) {
        candidate *c = v->candidates;
        v->candidates = c->next;
        free(c);
    }
    return EW_OK;
}

static ew_status update(void *self, const ew_event *event) {
    candidate **at = find(self, event->entry.key), *c = *at;
    if (event->kind == EW_EVENT_DELETE && c) {
        *at = c->next;
        free(c);
    }
    if (event->kind == EW_EVENT_DELETE)
        return EW_OK;
    if (!c) {
        c = calloc(1, sizeof *c + event->entry.key.len + 1);
        if (!c)
            return EW_ERR_NO_MEMORY;
        memcpy(c->key, event->entry.key.data, event->entry.key.len);
        c->since = event->entry.mod_revision;
        *at = c;
    }
    snprintf(c->name, sizeof c->name, "%.*s", (int)event->entry.value.len, (const char *)event->entry.value.data);
    return EW_OK;
}

static int tick(void *self, ew_tick *t) {
    view *v = self;
    const candidate *leader = NULL;
    for (const candidate *c = v->candidates; c; c = c->next)
        leader = !leader || c->since < leader->since ? c : leader;
    const char *name = leader ? leader->name : "nobody";
    if (strcmp(name, v->leader) == 0)
        return EW_OK;
    snprintf(v->leader, sizeof v->leader, "%s", name);
    printf("%s leads at revision %lld\n", name, (long long)ew_tick_revision(t));
    fflush(stdout);
    return ++v->seen == v->most ? EW_FINISHED : EW_OK;
}

int main(int argc, char **argv) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick, .update = update, .reset = reset);
    view v = {.most = argc > 3 ? strtoul(argv[3], NULL, 10) : 0};
    ew_error err = {0};
    ew_worker *w = NULL;
    if (argc < 2) {
        fprintf(stderr, "usage: leader_view ELECTION [ENDPOINTS [LEADERS]]\n");
        return 2;
    }
    /* Signals are waited for, not handled. Block them before the first thread starts, because threads inherit the
     * mask. */
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    if (v.most == 0)
        sigprocmask(SIG_BLOCK, &stop, NULL);

    ew_options *o = ew_options_new();
    ew_status status = ew_options_set(o, "prefix", argv[1], &err);
    if (status == EW_OK)
        status = ew_options_set(o, "prefix_match", "textual", &err); /* etcdctl accepts names without a leading slash */
    if (status == EW_OK && argc > 2)
        status = ew_options_set(o, "endpoints", argv[2], &err);
    if (status == EW_OK)
        status = ew_worker_open(&w, o, &reactor, &v, &err);
    if (status == EW_OK)
        status = ew_worker_start(w, &err);
    if (status == EW_OK && v.most == 0) {
        int signal_number;
        sigwait(&stop, &signal_number);
        ew_worker_stop(w);
    }
    if (status == EW_OK)
        status = ew_worker_join(w, &err);
    if (status != EW_OK && status != EW_ERR_CANCELLED)
        fprintf(stderr, "leader_view: %s: %s\n", ew_strerror(status), err.detail);
    ew_worker_close(w);
    reset(&v);
    ew_options_free(o);
    return status == EW_OK || status == EW_ERR_CANCELLED ? 0 : 1;
}
