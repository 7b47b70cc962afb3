#include "actors/actor.h"

#include "core/argument.h"
#include "core/log.h"
#include "core/options_internal.h"
#include "core/unpack.h"

#include <stdio.h>
#include <stdlib.h>

enum { FLUSH_MS = 1000 }; /* a DOWN that nobody takes is given up after this long */

static void tell_end(ew_actor *a) {
    Msg__Down down = MSG__DOWN__INIT;
    down.actor = a->ops->which;
    down.status = a->status;
    down.detail = a->detail;
    Msg__Message m = MSG__MESSAGE__INIT;
    m.down = &down;
    outbox_send(a->down_outbox, &m);
    a->told = true;
}

static int64_t actor_round(etcd_task *t, int64_t now_ms) {
    ew_actor *a = (ew_actor *)t;
    if (!a->started)
        a->ops->start(a);
    a->started = true;
    int64_t deadline_ms = a->ended ? INT64_MAX : a->ops->round(a, now_ms);
    int64_t look_ms = listening_look(mailbox_listened(a->mailbox), now_ms);
    if (!a->ended)
        return deadline_ms < look_ms ? deadline_ms : look_ms;
    if (!a->told)
        tell_end(a);
    return a->ops->needed != NULL && a->ops->needed(a) ? INT64_MAX : ETCD_TASK_OVER;
}

static void wake(void *arg) {
    ew_actor *a = arg;
    etcd_task_wake(&a->task);
}

bool actor_arguments_missing(ew_actor **out, const ew_client *client, const ew_options *options,
                             const char *mailbox_url, const char *peer_url, const char *function, ew_error *err) {
    if (argument_missing(out, "out", function, err))
        return true;
    *out = NULL;
    return argument_missing(client, "client", function, err) || argument_missing(options, "options", function, err) ||
           argument_missing(mailbox_url, "mailbox_url", function, err) ||
           argument_missing(peer_url, "peer_url", function, err);
}

int actor_init(ew_actor *a, const actor_ops *ops, ew_client *client, const ew_options *options, const char *mailbox_url,
               const char *peer_url, ew_error *err) {
    int status = etcd_check_process(client, err);
    if (status != EW_OK)
        return status;
    a->ops = ops;
    a->client = client;
    a->task.round = actor_round;
    a->worker = strdup(options->name);
    status = a->worker != NULL ? etcd_loop_take(&a->task.loop, client, ops->loop) : EW_ERR_NO_MEMORY;
    if (status == EW_OK) {
        a->queue = etcd_loop_queue(a->task.loop);
        status = outbox_open(&a->outbox, peer_url, 2, ops->room != NULL ? ops->room : wake, a, err);
    } else {
        ew_fail(err, status, "starting the %s", ops->name);
    }
    a->down_outbox = a->outbox;
    if (status == EW_OK)
        status = mailbox_open(&a->mailbox, mailbox_url, (size_t)options->mailbox_messages, ops->arrived, a, err);
    if (status != EW_OK) {
        outbox_close(a->outbox);
        etcd_loop_give(a->task.loop);
        free((char *)(uintptr_t)a->worker);
    }
    return status;
}

void actor_launch(ew_actor *a) {
    etcd_task_start(&a->task);
}

void actor_free(ew_actor *a) {
    if (a == NULL)
        return;
    mailbox_close(a->mailbox); /* first: its callbacks use the rest */
    outbox_close(a->outbox);
    a->ops->fini(a);
    etcd_loop_give(a->task.loop);
    free((char *)(uintptr_t)a->worker);
    free(a);
}

int ew_actor_stop(ew_actor *a, ew_error *err) {
    if (ARGUMENT_MISSING(a, err))
        return EW_ERR_INVALID;
    if (etcd_check_process(a->client, err) != EW_OK)
        return EW_ERR_STATE;
    atomic_store(&a->stop_timeout_ms, 1000);
    a->ops->arrived(a);
    etcd_task_wait(&a->task);
    outbox_flush(a->outbox, etcd_now_ms() + FLUSH_MS);
    int status = a->status == EW_OK ? EW_OK : ew_fail(err, a->status, "%s", a->detail);
    actor_free(a);
    return status;
}

uint64_t ew_actor_bad_messages(const ew_actor *a) {
    if (!a)
        return 0;
    return atomic_load_explicit(&a->bad_messages, memory_order_relaxed);
}

void actor_end(ew_actor *a, int status, const char *detail) {
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s", detail != NULL ? detail : "");
    a->ended = true;
}

void actor_count_bad(ew_actor *a, const char *why) {
    atomic_fetch_add_explicit(&a->bad_messages, 1, memory_order_relaxed);
    uint64_t left_out;
    if (log_limit_passes(&a->bad_limit, etcd_now_ms(), &left_out))
        log_fields(EW_LOG_WARN, a->worker, a->ops->name, "message dropped", {"why", why, 0},
                   {"not_logged", NULL, (int64_t)left_out});
}

static void take_malformed(ew_actor *a, size_t len) {
    char why[64];
    snprintf(why, sizeof why, "a body of %zu bytes is no Message", len);
    a->malformed = true;
    actor_count_bad(a, why);
}

Msg__Message *actor_take(ew_actor *a) {
    mailbox_message raw;
    while (mailbox_take(a->mailbox, &raw)) {
        int status;
        size_t len = raw.body.len;
        Msg__Message *m = unpack_message(&msg__message__descriptor, raw.body, &status);
        mailbox_message_free(&raw);
        if (m != NULL)
            return m;
        if (status == EW_ERR_NO_MEMORY)
            a->out_of_memory = true;
        else
            take_malformed(a, len);
    }
    return NULL;
}

void actor_send(ew_actor *a, const Msg__Message *m) {
    if (outbox_send(a->outbox, m) != EW_OK)
        a->out_of_memory = true;
}

void actor_log(const char *worker, const char *area, int level, const char *message, int64_t revision) {
    ew_log_level l = level < EW_LOG_ERROR || level > EW_LOG_DEBUG ? EW_LOG_DEBUG : (ew_log_level)level;
    if (revision != 0)
        log_fields(l, worker, area, message, {"revision", NULL, revision});
    else
        log_write(l, worker, area, message, NULL, 0);
}
