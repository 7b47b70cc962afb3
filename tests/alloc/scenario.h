/* Scenarios that run while an allocation fails. Each runs from open to close and reports violations with alloc_problem.
 * It must succeed although one allocation failed, because it repeats a call that failed. */
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
    bool much_alike;  /* skips places that earlier scenarios have reached, unless --all */
    bool slow;        /* skips them in any case */
    const char *only; /* only places whose file name begins so, unless the scenario runs alone; NULL: all */
    bool seldom;      /* only with --all */
} alloc_scenario;

extern const alloc_scenario alloc_scenarios[]; /* ends with an element without a name */

void alloc_open(void); /* starts etcd with what the scenarios need */
void alloc_close(void);

/* Records the first problem, which ends the program after the run. */
void alloc_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Records an error that a call returned, for the report. Returns the status. */
int alloc_failed(int status, const char *what, const ew_error *why);

extern ew_error err; /* of the last call; for the main thread */

/* Makes a call of the test's own client, whose allocations do not fail. */
#define WITHOUT_FAILURE(call)                                                                                          \
    __extension__({                                                                                                    \
        failing_spare(true);                                                                                           \
        __auto_type result_ = (call);                                                                                  \
        failing_spare(false);                                                                                          \
        result_;                                                                                                       \
    })

/* Makes a call, and repeats it once if it failed. The second call must succeed, since only one allocation fails. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if (alloc_failed((call), #call, &err) != EW_OK && (call) != EW_OK)                                             \
            alloc_problem("%s failed twice: %s", #call, err.detail);                                                   \
    } while (0)

enum { ALLOC_SCAN_KEYS = 30 }; /* below /scan/ */

const char *alloc_address(void); /* of the scenarios' etcd */

/* Makes the etcd with authentication forget its tokens. */
void alloc_forget_tokens(void);

/* Return options for a client of the scenarios' etcd, with TLS or a user; and for a worker. */
ew_options *alloc_options(void);
ew_options *alloc_options_tls(void);
ew_options *alloc_options_user(void);
ew_options *alloc_options_guest(void); /* for a user without permissions */
ew_options *alloc_options_worker(bool submits);
ew_client *alloc_client(ew_options *o); /* frees the options */

void alloc_run_worker(void);
void alloc_run_leader(void);
void alloc_run_check(void);
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
extern FILE *quiet_out; /* see quiet.h */
void alloc_open_service(void);
void alloc_close_service(void);

/* Directs the log to the program's own log, since the service sets a log of its own. */
void alloc_log(void);

#endif
