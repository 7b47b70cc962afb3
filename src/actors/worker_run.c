#include "actors/worker_private.h"
#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>

char *worker_url(const ew_worker *w, const char *actor) {
    char *url;
    return asprintf(&url, "%s/%s", w->url, actor) < 0 ? NULL : url;
}

/* Starts watcher and committer, and opens the outboxes to them. */
static int start_peers(ew_worker *w, ew_error *err) {
    char *to_reactor = worker_url(w, "reactor"), *to_watcher = worker_url(w, "watcher"),
         *to_committer = worker_url(w, "committer");
    committer_binding binding = {&w->committing, &w->piggyback, NULL, worker_check_receipt_lease, w};
    int status = to_reactor && to_watcher && to_committer ? EW_OK : worker_out_of_memory(err);
    ew_actor *a = NULL, *b = NULL;
    if (status == EW_OK)
        status = watcher_start_bound(&a, w->client, w->options, &w->piggyback, to_watcher, to_reactor, err);
    binding.watcher = a;
    if (status == EW_OK)
        status = committer_start_bound(&b, w->client, w->options, &binding, to_committer, to_reactor, err);
    pthread_mutex_lock(&w->lock); /* ew_worker_get_stats reads them from other threads */
    w->watcher = a;
    w->committer = b;
    pthread_mutex_unlock(&w->lock);
    if (status == EW_OK)
        status = outbox_open(&w->reactor.to_watcher, to_watcher, 2, NULL, NULL, err);
    if (status == EW_OK)
        status = outbox_open(&w->reactor.to_committer, to_committer, 2, NULL, NULL, err);
    free(to_reactor);
    free(to_watcher);
    free(to_committer);
    return status;
}

static int begin(ew_worker *w, ew_error *err) {
    int status = worker_prepare(w, err);
    if (status != EW_OK)
        return status;
    if (!worker_configure_committing(w))
        return worker_out_of_memory(err);
    ticking_config config = worker_ticking_config(w);
    if (reactor_prepare(&w->reactor, &config) != EW_OK)
        return worker_out_of_memory(err);
    session_begin(&w->leases, w->claimed.presence_lease, w->claimed.receipt_lease);
    if (w->session)
        status = ew_session_on_done(w->session, worker_session_done, w);
    return status == EW_OK ? start_peers(w, err) : ew_fail(err, status, "registering the session's callback");
}

/* Call it with the lock held. */
uint64_t worker_bad_messages(const ew_worker *w) {
    return w->bad_messages + (w->watcher ? ew_actor_bad_messages(w->watcher) : 0) +
           (w->committer ? ew_actor_bad_messages(w->committer) : 0);
}

/* Ends the parts in an order in which no part uses an ended one: actors, session, core, sockets. */
static void finish(ew_worker *w) {
    ew_actor *a = w->watcher, *b = w->committer;
    pthread_mutex_lock(&w->lock); /* from here on ew_worker_get_stats does not use them: they are freed below */
    if (a)
        w->reconnects = watcher_reconnects(a);
    w->bad_messages = worker_bad_messages(w);
    w->watcher = w->committer = NULL;
    pthread_mutex_unlock(&w->lock);
    if (b)
        ew_actor_close(b, NULL);
    if (a) {
        watcher_release(a); /* until now its thread has handled the committer's responses */
        ew_actor_close(a, NULL);
    }
    if (w->session)
        ew_session_forget(w->session, worker_session_done, w);
    worker_release(w);
    reactor_free(w->reactor.reactor);
    w->reactor.reactor = NULL;
    outbox_close(w->reactor.to_watcher);
    outbox_close(w->reactor.to_committer);
}

void *worker_main(void *arg) {
    ew_worker *w = arg;
    ew_error err = {0};
    log_set_source(&w->reactor.log);
    int status = begin(w, &err);
    if (status == EW_OK) {
        log_write(EW_LOG_INFO, &w->reactor.log, "worker", "started", NULL, 0);
        reactor_run(&w->reactor);
    } else {
        w->reactor.status = status;
        snprintf(w->reactor.detail, sizeof w->reactor.detail, "%s", err.detail);
    }
    finish(w);
    log_fields(w->reactor.status == EW_OK || w->reactor.status == EW_ERR_CANCELLED ? EW_LOG_INFO : EW_LOG_ERROR,
               &w->reactor.log, "worker", "ended", {"status", ew_strerror(w->reactor.status), 0},
               {"detail", w->reactor.detail, 0});
    return NULL;
}
