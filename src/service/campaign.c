#include "service/campaign.h"
#include "core/absence.h"
#include "core/log.h"
#include "core/options_internal.h"

#include <etcdworker/session.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* All calls of a candidate can be repeated, so a short timeout is enough; and an etcd that does not answer must not
 * delay the end of the process. */
enum { CANCEL_AGAIN_MS = 100, CALL_TIMEOUT_MS = 3000 };

struct campaign {
    const char *worker; /* the worker's name, for log records */
    char *name, *value;
    int64_t ttl_s, start_timeout_ms, backoff_max_ms;
    ew_client *client;
    int changed, cancelled; /* file descriptors */
    pthread_t thread;
    bool running;
    absence absence; /* of etcd; used by the thread only */

    pthread_mutex_t lock; /* for all members below */
    ew_session *session;
    ew_election *election;
    campaign_state state;
    bool stop;
    int status;
    ew_error err;
};

static void raise_fd(int fd) {
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* a small count always fits */
}

static void enter(campaign *c, campaign_state state, int status, const ew_error *err) {
    pthread_mutex_lock(&c->lock);
    c->state = state;
    c->status = status;
    c->err = err ? *err : (ew_error){0};
    pthread_mutex_unlock(&c->lock);
    raise_fd(c->changed);
}

static bool is_stopped(campaign *c) {
    pthread_mutex_lock(&c->lock);
    bool stop = c->stop;
    pthread_mutex_unlock(&c->lock);
    return stop;
}

/* ---- the session and the candidate ---- */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_candidate(campaign *c) {
    pthread_mutex_lock(&c->lock);
    ew_election *election = c->election;
    ew_session *session = c->session;
    c->election = NULL;
    c->session = NULL;
    pthread_mutex_unlock(&c->lock);
    ew_election_close(election);
    ew_session_close(session, EW_SESSION_REVOKE);
}

static int open_candidate(campaign *c, ew_error *err) {
    ew_session *session = NULL;
    ew_election *election = NULL;
    int status = ew_session_open(&session, c->client, c->ttl_s, err);
    if (status == EW_OK)
        status = ew_election_open(&election, c->client, session, ew_str(c->name), err);
    pthread_mutex_lock(&c->lock);
    c->session = session;
    c->election = election;
    if (c->stop && election)
        ew_election_cancel(election);
    pthread_mutex_unlock(&c->lock);
    if (status != EW_OK)
        close_candidate(c);
    return status;
}

/* Opens a session and a candidate. The first time it waits for etcd as long as a worker's start does; later it waits
 * without a limit (SEMANTICS 14). */
static int await_candidate(campaign *c, bool first, ew_error *err) {
    int64_t end_ms = first && c->start_timeout_ms > 0 ? now_ms() + c->start_timeout_ms : INT64_MAX;
    for (;;) {
        int status = is_stopped(c) ? ew_fail(err, EW_ERR_CANCELLED, "campaign cancelled") : open_candidate(c, err);
        /* If the answer to a lease grant was lost, the lease is unused and expires by itself. */
        bool passing = ew_is_retryable(status) || status == EW_ERR_UNKNOWN_OUTCOME;
        if (passing || status == EW_OK)
            absence_note(&c->absence, LOG_NAMED(c->worker), passing, now_ms(), passing ? err->detail : NULL);
        if (!passing || now_ms() >= end_ms)
            return status;
        poll(&(struct pollfd){.fd = c->cancelled, .events = POLLIN}, 1, (int)c->backoff_max_ms);
    }
}

/* ---- the thread ---- */

/* If the session ends before the election is won, for example because etcd was missing for longer than the TTL, the
 * candidate only loses its place in the queue, and campaigns again with another session. */
static int stand(campaign *c, ew_error *err) {
    int status;
    bool first = true;
    do {
        close_candidate(c);
        status = await_candidate(c, first, err);
        first = false;
        if (status != EW_OK)
            return status;
        log_fields(EW_LOG_INFO, LOG_NAMED(c->worker), "election", "campaigning for leadership", {"name", c->name, 0},
                   {"value", c->value, 0});
        status = ew_election_campaign(c->election, ew_str(c->value), -1, err);
        if (status == EW_ERR_SESSION_DONE)
            log_write(EW_LOG_WARN, LOG_NAMED(c->worker), "election", "session expired during campaign; opening another",
                      NULL, 0);
    } while (status == EW_ERR_SESSION_DONE);
    return status;
}

static void *run(void *arg) {
    campaign *c = arg;
    ew_error err = {0};
    int status = stand(c, &err);
    if (status == EW_OK) {
        log_fields(EW_LOG_INFO, LOG_NAMED(c->worker), "election", "elected", {"name", c->name, 0},
                   {"revision", NULL, ew_election_revision(c->election)});
        enter(c, CAMPAIGN_LEADING, EW_OK, NULL);
        status = ew_election_await_loss(c->election, -1, &err);
        if (status != EW_ERR_CANCELLED)
            log_fields(EW_LOG_ERROR, LOG_NAMED(c->worker), "election", "leadership lost",
                       {"error", ew_strerror(status), 0}, {"detail", err.detail, 0});
    }
    enter(c, CAMPAIGN_OVER, status, &err);
    return NULL;
}

/* ---- start and end ---- */

static char *default_value(void) {
    char host[256] = "", *value = NULL;
    gethostname(host, sizeof host - 1);
    return asprintf(&value, "%s:%d", host, (int)getpid()) < 0 ? NULL : value;
}

static int prepare(campaign *c, const ew_options *o, ew_error *err) {
    const char *value = ew_options_text(o, "elect_value");
    c->worker = ew_options_text(o, "name");
    c->ttl_s = ew_options_int(o, "session_ttl_s");
    c->start_timeout_ms = ew_options_int(o, "start_timeout_ms");
    c->backoff_max_ms = ew_options_int(o, "backoff_max_ms");
    c->name = strdup(ew_options_text(o, "elect"));
    c->value = value[0] ? strdup(value) : default_value();
    c->changed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->cancelled = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!c->name || !c->value)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    if (c->changed < 0 || c->cancelled < 0)
        return ew_fail(err, EW_ERR_SYSTEM, "election: cannot create an eventfd");
    ew_options *own = options_copy(o);
    if (!own)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    if (own->call_timeout_ms > CALL_TIMEOUT_MS)
        own->call_timeout_ms = CALL_TIMEOUT_MS;
    int status = ew_client_open(&c->client, own, err);
    ew_options_free(own);
    return status;
}

int campaign_start(campaign **out, const ew_options *options, ew_error *err) {
    *out = NULL;
    campaign *c = calloc(1, sizeof *c);
    if (!c || pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    }
    int status = prepare(c, options, err);
    if (status == EW_OK && pthread_create(&c->thread, NULL, run, c) != 0)
        status = ew_fail(err, EW_ERR_SYSTEM, "election: cannot start a thread");
    c->running = status == EW_OK;
    if (status == EW_OK)
        *out = c;
    else
        campaign_end(c);
    return status;
}

int campaign_fd(const campaign *c) {
    return c->changed;
}

campaign_state campaign_look(campaign *c, int *status, ew_error *err) {
    uint64_t count;
    ssize_t got = read(c->changed, &count, sizeof count);
    (void)got; /* an error means that the state has not changed */
    pthread_mutex_lock(&c->lock);
    campaign_state state = c->state;
    *status = c->status;
    *err = c->err;
    pthread_mutex_unlock(&c->lock);
    return state;
}

ew_election *campaign_election(campaign *c) {
    return c->election;
}

int campaign_reload(campaign *c, ew_error *err) {
    return ew_client_reload(c->client, err);
}

void campaign_cancel(campaign *c) {
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    if (c->election)
        ew_election_cancel(c->election);
    pthread_mutex_unlock(&c->lock);
    raise_fd(c->cancelled);
    ew_client_cancel(c->client);
}

/* A cancel ends only the calls that wait at that moment, and the thread may be about to start another. So the cancel is
 * repeated until the campaign is over. */
static void join(campaign *c) {
    int status;
    ew_error err;
    do
        campaign_cancel(c);
    while (campaign_look(c, &status, &err) != CAMPAIGN_OVER &&
           poll(&(struct pollfd){.fd = c->changed, .events = POLLIN}, 1, CANCEL_AGAIN_MS) >= 0);
    pthread_join(c->thread, NULL);
}

static void resign(campaign *c) {
    ew_error err = {0};
    if (!c->election || ew_election_revision(c->election) == 0)
        return;
    int status = ew_election_resign(c->election, &err);
    if (status == EW_OK)
        log_fields(EW_LOG_INFO, LOG_NAMED(c->worker), "election", "resigned", {"name", c->name, 0});
    else
        log_fields(EW_LOG_WARN, LOG_NAMED(c->worker), "election", "cannot resign", {"error", ew_strerror(status), 0},
                   {"detail", err.detail, 0});
}

void campaign_end(campaign *c) {
    if (!c)
        return;
    if (c->running)
        join(c);
    resign(c);
    close_candidate(c);
    ew_client_close(c->client);
    if (c->changed >= 0)
        close(c->changed);
    if (c->cancelled >= 0)
        close(c->cancelled);
    pthread_mutex_destroy(&c->lock);
    free(c->name);
    free(c->value);
    free(c);
}
