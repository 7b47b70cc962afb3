/* The range calls of a load or a consistency check, one at a time. A page is requested when the receiver has capacity
 * for it: a slow reactor must not find the whole prefix in its mailbox. */
#ifndef SHELL_PAGE_READ_H
#define SHELL_PAGE_READ_H

#include "core/watching.h"
#include "shell/io.h"

typedef struct page_read {
    shell_io *io;
    int64_t timeout_ms;
    void (*step)(void *owner, watching_event event);
    void *owner;
    io_call *call;
    ew_slice waiting; /* the request that waits for capacity; malloced */
    bool whole;       /* the request is for the whole prefix */
    bool unstarted;   /* out of memory: reported as a failed page in the next round */
} page_read;

/* Each call has `timeout_ms`. Its answer is an event for the owner's core: `step` is called with it. */
void page_read_init(page_read *r, shell_io *io, int64_t timeout_ms, void (*step)(void *owner, watching_event event),
                    void *owner);
void page_read_fini(page_read *r); /* after the answer of a call that was started, or without one that will come */

/* Starts the call of `request`, or keeps a copy of the request until page_read_resume. A request for the whole prefix
 * in one answer, the last resort of a load, has 8 times as long as a page. */
void page_read_start(page_read *r, ew_slice request, bool whole);

/* Ends the call early. `step` is still called. */
void page_read_cancel(page_read *r);

/* The receiver has capacity again. */
void page_read_resume(page_read *r);

/* Reports a call that could not be started. */
void page_read_round(page_read *r);

/* Whether an answer is still to come. */
bool page_read_is_open(const page_read *r);

#endif
