#include "actors/audit.h"

#include "actors/message.h"
#include "core/slice.h"

#include <stdlib.h>

static void step(audit *a, watching_event event);

static void range_answered(void *arg, int status, const char *detail, ew_slice bytes) {
    audit *a = arg;
    etcd_task_due(&a->actor->task);
    a->range = NULL;
    step(a, (watching_event){.type = status == EW_OK ? WATCHING_PAGE : WATCHING_PAGE_FAILED,
                             .bytes = bytes,
                             .status = status,
                             .detail = detail});
}

static void send_page(audit *a, const watching_effect *e) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Audited audited = MSG__AUDITED__INIT;
    audited.number = a->number;
    audited.page = slice_bytes(e->bytes);
    audited.last = e->last;
    m.audited = &audited;
    actor_send(a->actor, &m);
}

/* One that was stopped is waited for by nobody. */
static void end(audit *a, const watching_effect *e) {
    a->over = true;
    if (e->status == EW_OK)
        return;
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Audited audited = MSG__AUDITED__INIT;
    audited.number = a->number;
    audited.last = true;
    audited.status = e->status;
    audited.detail = (char *)(uintptr_t)(e->detail != NULL ? e->detail : "");
    m.audited = &audited;
    actor_send(a->actor, &m);
}

static void start_page(audit *a, ew_slice request) {
    a->range =
        etcd_call_start(a->actor->client, a->actor->queue, ETCD_RANGE, request, a->call_timeout_ms, range_answered, a);
    a->unstarted = a->range == NULL;
}

/* As the watcher's own pages, one is asked for when there is room for it. */
static void read_page(audit *a, ew_slice request) {
    if (!outbox_busy(a->actor->outbox)) {
        start_page(a, request);
        return;
    }
    void *copy = malloc(request.len);
    a->unstarted = copy == NULL;
    if (copy != NULL)
        a->waiting_range = (ew_slice){memcpy(copy, request.data, request.len), request.len};
}

void audit_room(audit *a) {
    ew_slice request = a->waiting_range;
    if (request.data == NULL)
        return;
    a->waiting_range = (ew_slice){0};
    start_page(a, request);
    free((void *)(uintptr_t)request.data);
}

static void carry_out(audit *a, const watching_effect *e) {
    switch (e->type) {
    case WATCHING_DO_RANGE:
        read_page(a, e->bytes);
        break;
    case WATCHING_DO_CANCEL_RANGE:
        audit_room(a);
        if (a->range != NULL)
            etcd_call_cancel(a->range);
        break;
    case WATCHING_DO_SEND_SNAPSHOT:
        send_page(a, e);
        break;
    case WATCHING_DO_END:
        end(a, e);
        break;
    case WATCHING_DO_LOG:
        actor_log(a->actor->worker, "audit", e->status, e->detail, e->revision);
        break;
    case WATCHING_DO_OPEN: /* what follows is of a watch, which an audit never has */
    case WATCHING_DO_REQUEST:
    case WATCHING_DO_CLOSE:
    case WATCHING_DO_SEND_EVENTS:
    case WATCHING_DO_SEND_PROGRESS:
    case WATCHING_DO_SEND_HEALTH:
        break;
    }
}

static void step(audit *a, watching_event event) {
    watching_effects effects;
    event.now_ms = etcd_now_ms();
    watching_step(a->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(a, &effects.list[i]);
}

void audit_init(audit *a, ew_actor *actor, const watching_config *config, int64_t call_timeout_ms) {
    *a = (audit){.actor = actor, .config = *config, .call_timeout_ms = call_timeout_ms};
}

void audit_fini(audit *a) {
    watching_free(a->core);
    free((void *)(uintptr_t)a->waiting_range.data);
}

bool audit_runs(const audit *a) {
    return a->core != NULL;
}

void audit_stop(audit *a) {
    a->next_number = 0;
    if (a->core != NULL && !a->over)
        step(a, (watching_event){.type = WATCHING_STOP});
}

void audit_start(audit *a, const Msg__Audit *asked) {
    audit_stop(a);
    a->next_number = asked->number;
    a->next_revision = asked->revision;
}

static void begin_next(audit *a) {
    a->number = a->next_number;
    a->next_number = 0;
    a->config.audit_revision = a->next_revision;
    a->config.seed += a->number;
    a->over = false;
    a->core = watching_new(&a->config);
    if (a->core != NULL)
        step(a, (watching_event){.type = WATCHING_START});
    else
        end(a, &(watching_effect){.status = EW_ERR_NO_MEMORY});
}

int64_t audit_round(audit *a, int64_t now_ms) {
    if (a->unstarted) {
        a->unstarted = false;
        range_answered(a, EW_ERR_NO_MEMORY, "starting a call", (ew_slice){0});
    }
    if (a->over && a->range == NULL) {
        watching_free(a->core);
        a->core = NULL;
        a->over = false;
    }
    if (a->core == NULL && a->next_number != 0)
        begin_next(a);
    if (a->core != NULL && !a->over && watching_deadline_ms(a->core) <= now_ms)
        step(a, (watching_event){.type = WATCHING_TIMER});
    return a->core == NULL ? INT64_MAX : a->over ? now_ms : watching_deadline_ms(a->core);
}
