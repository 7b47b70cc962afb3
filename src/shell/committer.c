#include "shell/committer.h"

#include "core/bug.h"
#include "shell/down.h"

#include <etcdworker/error.h>

#include <stdio.h>
#include <stdlib.h>

struct committer {
    shell_io *io;
    piggyback *piggyback;
    int64_t stop_timeout_ms;
    void (*check_lease)(void *arg);
    void *check_arg;
    committing *core;
    io_call *call;         /* the transaction that waits for its answer */
    bool unstarted;        /* out of memory: reported to the core in the next round */
    int64_t wants_stop_ms; /* 0: no end was asked for */
    char broken[128];      /* the message that broke the protocol, for which this committer ends; empty: none */
    bool over;             /* the core has ended, with these */
    bool down;             /* DOWN was sent */
    int status;
    char detail[256];
};

static void step(committer *c, committing_event event);

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    committer *c = arg;
    c->call = NULL;
    if (!c->over) /* the answer to a call that the end has cancelled is not needed */
        step(c, (committing_event){.type = COMMITTING_ANSWER, .status = status, .detail = detail, .bytes = bytes});
}

/* ---- the core's effects ---- */

static void end(committer *c, int status, const char *detail) {
    if (c->over)
        return;
    bool broken = c->broken[0] != '\0';
    c->over = true;
    c->status = broken ? EW_ERR_BAD_MESSAGE : status;
    snprintf(c->detail, sizeof c->detail, "%s", broken ? c->broken : detail ? detail : "");
    if (c->call)
        c->io->ops->call_cancel(c->io, c->call); /* the end waits for its answer */
}

static void send_outcome(committer *c, const Msg__Outcome *outcome) {
    Msg__Message m = MSG__MESSAGE__INIT;
    m.outcome = (Msg__Outcome *)(uintptr_t)outcome; /* only read */
    int status = c->piggyback ? piggyback_send_outcome(c->piggyback, &m) : c->io->ops->send(c->io, &m, IO_SEND);
    if (status != EW_OK)
        end(c, EW_ERR_NO_MEMORY, "sending an outcome");
}

static void carry_out(committer *c, const committing_effect *e) {
    switch (e->type) {
    case COMMITTING_DO_TXN:
        c->call = c->io->ops->call(c->io, IO_TXN, e->bytes, e->timeout_ms, answered, c);
        c->unstarted = !c->call;
        break;
    case COMMITTING_DO_OUTCOME:
        send_outcome(c, &e->outcome);
        break;
    case COMMITTING_DO_LEASE:
        if (c->check_lease)
            c->check_lease(c->check_arg);
        break;
    case COMMITTING_DO_END:
        end(c, e->status, e->detail);
        break;
    case COMMITTING_DO_LOG:
        c->io->ops->log(c->io, "committer", e->status, e->detail, 0);
        break;
    }
}

static void step(committer *c, committing_event event) {
    committing_effects effects;
    event.now_ms = c->io->ops->now_ms(c->io);
    committing_step(c->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(c, &effects.list[i]);
}

/* ---- messages ---- */

static void take_batch(committer *c, const Msg__Patches *patches) {
    if (c->piggyback)
        piggyback_begin_batch(c->piggyback);
    step(c, (committing_event){.type = COMMITTING_BATCH, .patches = patches});
}

/* One of two batches is not the reactor's, and it is unknown which one. So what is in flight is decided, and then the
 * committer of a worker ends. A committer by itself drops the second batch. */
static void take_second_batch(committer *c, const Msg__Patches *patches) {
    char why[sizeof c->broken];
    snprintf(why, sizeof why, "PATCHES: batch %llu, while another one is undecided",
             (unsigned long long)patches->batch);
    c->io->ops->bad_message(c->io, why);
    if (!c->piggyback)
        return;
    snprintf(c->broken, sizeof c->broken, "%s", why);
    committer_stop(c, c->stop_timeout_ms);
}

void committer_take(committer *c, const Msg__Message *m) {
    if (m->stop)
        committer_stop(c, m->stop->timeout_ms);
    else if (m->session && m->session->lease != 0 && !m->session->done)
        step(c, (committing_event){.type = COMMITTING_LEASE, .lease = m->session->lease});
    else if (!m->patches)
        c->io->ops->bad_message(c->io, "not for a committer");
    else if (committing_get_state(c->core) != COMMITTING_IDLE)
        take_second_batch(c, m->patches);
    else
        take_batch(c, m->patches);
}

/* The body may have been a batch, whose outcome the reactor of a worker waits for. */
void committer_take_malformed(committer *c) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Outcome o = MSG__OUTCOME__INIT;
    static char detail[] = "the committer has got a body that is not a Message";
    if (!c->piggyback || c->over)
        return;
    o.status = EW_ERR_BAD_MESSAGE;
    o.detail = detail;
    m.outcome = &o;
    if (c->piggyback->io->ops->send(c->piggyback->io, &m, IO_SEND) != EW_OK)
        end(c, EW_ERR_NO_MEMORY, "sending an outcome");
}

void committer_fail(committer *c) {
    end(c, EW_ERR_NO_MEMORY, "handling a message");
}

void committer_stop(committer *c, int64_t timeout_ms) {
    c->wants_stop_ms = timeout_ms > 0 ? timeout_ms : 1;
}

/* ---- rounds ---- */

/* The way that the outcomes take, so that DOWN cannot overtake the last one. */
static void go_down(committer *c) {
    c->down = true;
    down_send(c->piggyback ? c->piggyback->io : c->io, MSG__ACTOR__COMMITTER, c->status, c->detail);
}

int64_t committer_round(committer *c, int64_t now_ms) {
    if (c->unstarted) {
        c->unstarted = false;
        step(c, (committing_event){.type = COMMITTING_ANSWER, .status = EW_ERR_NO_MEMORY, .detail = "starting a call"});
    }
    int64_t stop_ms = c->wants_stop_ms;
    c->wants_stop_ms = 0;
    if (stop_ms != 0 && EW_BUG(down_first))
        go_down(c);
    if (stop_ms != 0 && !c->over)
        step(c, (committing_event){.type = COMMITTING_STOP, .timeout_ms = stop_ms});
    if (!c->over && committing_deadline_ms(c->core) <= now_ms)
        step(c, (committing_event){.type = COMMITTING_TIMER});
    if (c->over && !c->call && !c->down)
        go_down(c);
    return committer_next_ms(c);
}

int64_t committer_next_ms(const committer *c) {
    if (c->over)
        return !c->call && !c->down ? 0 : INT64_MAX;
    return c->unstarted || c->wants_stop_ms != 0 ? 0 : committing_deadline_ms(c->core);
}

bool committer_ended(const committer *c, int *status, const char **detail) {
    if (!c->down)
        return false;
    *status = c->status;
    *detail = c->detail;
    return true;
}

bool committer_has_no_space(const committer *c) {
    return committing_has_no_space(c->core);
}

const committing *committer_core(const committer *c) {
    return c->core;
}

/* ---- life ---- */

committer *committer_new(const committer_config *config) {
    committer *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->io = config->io;
    c->piggyback = config->piggyback;
    c->stop_timeout_ms = config->stop_timeout_ms;
    c->check_lease = config->check_lease;
    c->check_arg = config->check_arg;
    c->core = committing_new(config->core);
    if (!c->core) {
        free(c);
        return NULL;
    }
    return c;
}

void committer_free(committer *c) {
    if (!c)
        return;
    committing_free(c->core);
    free(c);
}
