/* What is done while allocations fail. Each scenario runs from an open to a close and finds fault with what it sees by
 * alloc_problem; it ends well although one allocation failed, since whatever failed is done again. */
#ifndef ALLOC_SCENARIO_H
#define ALLOC_SCENARIO_H

#include "alloc/failing.h"
#include "lib/client.h"
#include "lib/etcd_server.h"

#include <etcdworker/etcdworker.h>

#include <stdint.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct alloc_scenario {
    const char *name;
    void (*run)(void);
    bool much_alike;  /* what earlier scenarios have reached is left out, unless all is wanted */
    bool slow;        /* it is left out in any case */
    const char *only; /* places whose file begins so, unless it runs alone; NULL: all */
    bool seldom;      /* only when all is wanted */
} alloc_scenario;

extern const alloc_scenario alloc_scenarios[]; /* ended by one without a name */

void alloc_open(void); /* etcd with what the scenarios need */
void alloc_close(void);

/* The first one is kept: it ends the program after the run. */
void alloc_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An error that a call answered; for the report. Answers the status. */
int alloc_failed(int status, const char *what, const ew_error *why);

extern ew_error err; /* of the last call; the main thread's */

/* What the hand in etcd does does not fail. */
#define WITHOUT_FAILURE(call)                                                                                          \
    __extension__({                                                                                                    \
        failing_spare(true);                                                                                           \
        __auto_type result_ = (call);                                                                                  \
        failing_spare(false);                                                                                          \
        result_;                                                                                                       \
    })

/* Calls, and calls again if that failed, which must do: one allocation fails, not two. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if (alloc_failed((call), #call, &err) != EW_OK && (call) != EW_OK)                                             \
            alloc_problem("%s fails again: %s", #call, err.detail);                                                    \
    } while (0)

enum { ALLOC_SCAN_KEYS = 30 }; /* below /scan/ */

const char *alloc_address(void); /* of the etcd of the scenarios */

/* The etcd that asks for users does not know its tokens any more. */
void alloc_forget_tokens(void);

/* Options for a client of the etcd of the scenarios, with TLS or a user; and for a worker. */
ew_options *alloc_options(void);
ew_options *alloc_options_tls(void);
ew_options *alloc_options_user(void);
ew_options *alloc_options_guest(void); /* of a user who may do nothing */
ew_options *alloc_options_worker(bool submits);
ew_client *alloc_client(ew_options *o); /* takes the options over */

void alloc_run_worker(void);
void alloc_run_leader(void);
void alloc_run_audit(void);
void alloc_run_pages(void);
void alloc_run_actors(void);
void alloc_run_trouble(void);
void alloc_run_outbox(void);
void alloc_run_config(void);
void alloc_run_plan(void);
void alloc_run_service(void);
void alloc_run_program(void);
void alloc_run_demo(void);
void alloc_run_dev(void);

void alloc_open_pages(void);
extern FILE *quiet_out; /* quiet.h */
void alloc_open_service(void);
void alloc_close_service(void);

/* To where the program's own log goes: the service has a log of its own. */
void alloc_log(void);

#endif
