/* Options: named settings of clients, workers and the service.
 *
 * One table in the library (src/core/options.def) holds the name, unit, range, default and help of each option. The
 * API, the config file, the environment and `--help` are made from this table; etcdworkerd(1) lists it. A name
 * ends in its unit: `tick_interval_ms`, `max_txn_bytes`.
 *
 * An ew_options is a plain set of values: it does no I/O and has no thread. Only one thread at a time may use it.
 * Functions that take a `const ew_options *` copy what they need before they return. */
#ifndef ETCDWORKER_OPTIONS_H
#define ETCDWORKER_OPTIONS_H

#include <etcdworker/error.h>
#include <etcdworker/log.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_options ew_options;

/* Returns a new set with all options at their defaults; NULL when out of memory. The caller frees it with
 * ew_options_free, which accepts NULL. */
EW_API ew_options *ew_options_new(void);
EW_API void ew_options_free(ew_options *o);

/* Sets one option from text, in the format of the config file: a decimal number, on or off for a switch, one of the
 * words for a choice. The text is copied. EW_ERR_INVALID: the name is unknown, or the value is malformed or out of
 * range; the detail names the option, the value and the allowed values. EW_ERR_NO_MEMORY. After an error the set is
 * unchanged. */
EW_API ew_status ew_options_set(ew_options *o, const char *name, const char *value, ew_error *err);

/* Sets a number or a switch (0 or 1). Errors as for ew_options_set. */
EW_API ew_status ew_options_set_int(ew_options *o, const char *name, int64_t value, ew_error *err);

/* Sets a log function for the clients, workers and single actors that are made from the set: `fn` gets the records
 * about them up to `level`, and ew_log_set's function gets none of these. If `fn` is NULL, the default, ew_log_set's
 * function gets them.
 *  - About a client: its connections, and the calls, watches, sessions, elections and leases made from it. A worker's
 *    leases belong to its client. A client that a worker opens by itself has the worker's log function.
 *  - About a worker: what its threads and sockets do, and what its reactor writes with ew_log.
 *  - About the process, so always for ew_log_set's function: gRPC's messages, a socket that nng does not close, and
 *    what code outside of a reactor writes with ew_log.
 * The rules of ew_log_fn apply: `fn` is called on any thread, on several at once, and must not call the library. After
 * ew_client_close, ew_worker_close or ew_actor_close has returned, `fn` is not called any more. The simulator writes no
 * records. EW_ERR_INVALID: `o` is NULL. */
EW_API ew_status ew_options_set_log(ew_options *o, ew_log_fn fn, void *arg, ew_log_level level);

/* Return the value of one option. ew_options_int also returns switches (0 or 1) and choices (their position, from 0).
 * For an unknown name or an option of another kind they return -1 or NULL. The text is valid until the option is set
 * again or the set is freed. */
EW_API int64_t ew_options_int(const ew_options *o, const char *name);
EW_API const char *ew_options_text(const ew_options *o, const char *name);

/* The table itself, for programs that generate a command line or a reference from it. */
typedef enum ew_option_kind { EW_OPTION_INT, EW_OPTION_SWITCH, EW_OPTION_CHOICE, EW_OPTION_TEXT } ew_option_kind;

typedef struct ew_option_info {
    const char *group; /* what the option is for: "client", "worker" or "service" */
    const char *name;
    ew_option_kind kind;
    int64_t min, max;         /* EW_OPTION_INT: the range, both limits included */
    int64_t default_number;   /* for every kind except EW_OPTION_TEXT */
    const char *default_text; /* EW_OPTION_TEXT; never NULL */
    const char *choices;      /* EW_OPTION_CHOICE: the words, separated by '|'; otherwise NULL */
    const char *help;         /* one or two sentences */
} ew_option_info;

/* Returns the i-th row of the table, or NULL if there is no such row. Static storage. Any thread. */
EW_API const ew_option_info *ew_option_at(size_t i);

#ifdef __cplusplus
}
#endif
#endif
