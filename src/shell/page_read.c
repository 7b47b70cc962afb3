#include "shell/page_read.h"

#include <etcdworker/error.h>

#include <stdlib.h>
#include <string.h>

enum { WHOLE_TIMES = 8 };

void page_read_init(page_read *r, shell_io *io, int64_t timeout_ms, void (*step)(void *owner, watching_event event),
                    void *owner) {
    *r = (page_read){.io = io, .timeout_ms = timeout_ms, .step = step, .owner = owner};
}

void page_read_fini(page_read *r) {
    free((void *)(uintptr_t)r->waiting.data);
}

static void answered(void *arg, int status, const char *detail, ew_slice bytes) {
    page_read *r = arg;
    r->io->ops->due(r->io);
    r->call = NULL;
    r->step(r->owner, (watching_event){.type = status == EW_OK ? WATCHING_PAGE : WATCHING_PAGE_FAILED,
                                       .bytes = bytes,
                                       .status = status,
                                       .detail = detail});
}

static void report_later(page_read *r) {
    r->unstarted = true;
    r->io->ops->due(r->io);
}

static void start(page_read *r, ew_slice request) {
    int64_t timeout_ms = r->whole ? WHOLE_TIMES * r->timeout_ms : r->timeout_ms;
    r->call = r->io->ops->call(r->io, IO_RANGE, request, timeout_ms, answered, r);
    if (!r->call)
        report_later(r);
}

static void keep(page_read *r, ew_slice request) {
    void *copy = malloc(request.len);
    if (copy)
        r->waiting = (ew_slice){memcpy(copy, request.data, request.len), request.len};
    else
        report_later(r);
}

void page_read_start(page_read *r, ew_slice request, bool whole) {
    r->whole = whole;
    if (r->io->ops->busy(r->io))
        keep(r, request);
    else
        start(r, request);
}

void page_read_resume(page_read *r) {
    ew_slice request = r->waiting;
    if (!request.data)
        return;
    r->waiting = (ew_slice){0};
    start(r, request);
    free((void *)(uintptr_t)request.data);
}

void page_read_cancel(page_read *r) {
    page_read_resume(r); /* so that an answer comes */
    if (r->call)
        r->io->ops->call_cancel(r->io, r->call);
}

void page_read_round(page_read *r) {
    if (!r->unstarted)
        return;
    r->unstarted = false;
    answered(r, EW_ERR_NO_MEMORY, "starting a call", (ew_slice){0});
}

bool page_read_is_open(const page_read *r) {
    return r->call || r->waiting.data || r->unstarted;
}
