#include "shell/watcher_check.h"

#include "core/slice.h"

#include <etcdworker/error.h>

static void step(watcher_check *c, watching_event event);

static void step_page(void *owner, watching_event event) {
    step(owner, event);
}

static void send_message(watcher_check *c, Msg__Checked *checked) {
    Msg__Message m = MSG__MESSAGE__INIT;
    checked->number = c->number;
    m.checked = checked;
    if (c->io->ops->send(c->io, &m, IO_SEND) != EW_OK)
        *c->out_of_memory = true;
}

static void send_page(watcher_check *c, const watching_effect *e) {
    Msg__Checked checked = MSG__CHECKED__INIT;
    checked.page = slice_bytes(e->bytes);
    checked.last = e->last;
    send_message(c, &checked);
}

/* The reactor does not wait for a check that was stopped. */
static void end(watcher_check *c, int status, const char *detail) {
    c->over = true;
    if (status == EW_OK)
        return;
    Msg__Checked checked = MSG__CHECKED__INIT;
    checked.last = true;
    checked.status = status;
    checked.detail = (char *)(uintptr_t)(detail ? detail : "");
    send_message(c, &checked);
}

static void carry_out(watcher_check *c, const watching_effect *e) {
    switch (e->type) {
    case WATCHING_DO_RANGE:
        page_read_start(&c->read, e->bytes, false);
        break;
    case WATCHING_DO_CANCEL_RANGE:
        page_read_cancel(&c->read);
        break;
    case WATCHING_DO_SEND_SNAPSHOT:
        send_page(c, e);
        break;
    case WATCHING_DO_END:
        end(c, e->status, e->detail);
        break;
    case WATCHING_DO_LOG:
        c->io->ops->log(c->io, "check", e->status, e->detail, e->revision);
        break;
    case WATCHING_DO_OPEN: /* the others belong to a watch, which a check never has */
    case WATCHING_DO_REQUEST:
    case WATCHING_DO_CLOSE:
    case WATCHING_DO_SEND_EVENTS:
    case WATCHING_DO_SEND_PROGRESS:
    case WATCHING_DO_SEND_HEALTH:
        break;
    }
}

static void step(watcher_check *c, watching_event event) {
    watching_effects effects;
    event.now_ms = c->io->ops->now_ms(c->io);
    watching_step(c->core, &event, &effects);
    for (size_t i = 0; i < effects.count; i++)
        carry_out(c, &effects.list[i]);
}

void watcher_check_init(watcher_check *c, shell_io *io, const watching_config *config, int64_t call_timeout_ms,
                        bool *out_of_memory) {
    *c = (watcher_check){.io = io, .config = *config, .out_of_memory = out_of_memory};
    page_read_init(&c->read, io, call_timeout_ms, step_page, c);
}

void watcher_check_fini(watcher_check *c) {
    watching_free(c->core);
    page_read_fini(&c->read);
}

bool watcher_check_runs(const watcher_check *c) {
    return c->core != NULL;
}

void watcher_check_stop(watcher_check *c) {
    c->next_number = 0;
    if (c->core && !c->over)
        step(c, (watching_event){.type = WATCHING_STOP});
}

void watcher_check_start(watcher_check *c, const Msg__Check *asked) {
    watcher_check_stop(c);
    c->next_number = asked->number;
    c->next_revision = asked->revision;
}

void watcher_check_resume(watcher_check *c) {
    page_read_resume(&c->read);
}

static void begin_next(watcher_check *c) {
    c->number = c->next_number;
    c->next_number = 0;
    c->config.check_revision = c->next_revision;
    c->config.seed += c->number;
    c->over = false;
    c->core = watching_new(&c->config);
    if (c->core)
        step(c, (watching_event){.type = WATCHING_START});
    else
        end(c, EW_ERR_NO_MEMORY, NULL);
}

int64_t watcher_check_round(watcher_check *c, int64_t now_ms) {
    page_read_round(&c->read);
    if (c->over && !page_read_is_open(&c->read)) {
        watching_free(c->core);
        c->core = NULL;
        c->over = false;
    }
    if (!c->core && c->next_number != 0)
        begin_next(c);
    if (c->core && !c->over && watching_deadline_ms(c->core) <= now_ms)
        step(c, (watching_event){.type = WATCHING_TIMER});
    return !c->core ? INT64_MAX : c->over ? now_ms : watching_deadline_ms(c->core);
}
