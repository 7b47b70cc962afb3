/* Options: everything a user can set, by name.
 *
 * One table in the library (src/core/options.def) holds each option's name, unit, range, default and help; the API, the
 * config file, the environment and `--help` are all made from it; etcdworkerd(1) lists it. A name ends in its unit:
 * `tick_interval_ms`, `max_txn_bytes`.
 *
 * An ew_options is a plain value behind a handle: no I/O, no thread. Use one from one thread at a time. Functions that
 * take a `const ew_options *` copy what they need before they return. */
#ifndef ETCDWORKER_OPTIONS_H
#define ETCDWORKER_OPTIONS_H

#include <etcdworker/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ew_options ew_options;

/* A new set with every option at its default; NULL when out of memory. Free with ew_options_free (NULL is fine). */
EW_API ew_options *ew_options_new(void);
EW_API void ew_options_free(ew_options *o);

/* Sets one option from text, as a config file would: numbers in decimal, switches as on/off, choices by their word.
 * EW_ERR_INVALID for an unknown name, a malformed value or one out of range; `err` names the option, the value and what
 * is allowed, and the set is unchanged. EW_ERR_NO_MEMORY leaves it unchanged too. The text is copied. */
EW_API int ew_options_set(ew_options *o, const char *name, const char *value, ew_error *err);

/* The same for a number or a switch (0 or 1). */
EW_API int ew_options_set_int(ew_options *o, const char *name, int64_t value, ew_error *err);

/* Reads one option back. ew_options_int also reads switches (0 or 1) and choices (their position).
 * An unknown name, or one of the other kind, answers -1 or NULL. The text is valid until the option is set again or the
 * set is freed. */
EW_API int64_t ew_options_int(const ew_options *o, const char *name);
EW_API const char *ew_options_text(const ew_options *o, const char *name);

/* The table itself, for programs that build a command line or a reference from it. */
typedef enum ew_option_kind { EW_OPTION_INT, EW_OPTION_SWITCH, EW_OPTION_CHOICE, EW_OPTION_TEXT } ew_option_kind;

typedef struct ew_option_info {
    const char *group; /* "client", "worker" or "service": who reads it */
    const char *name;
    ew_option_kind kind;
    int64_t min, max;         /* EW_OPTION_INT: the range, both ends allowed */
    int64_t default_number;   /* for every kind but EW_OPTION_TEXT */
    const char *default_text; /* EW_OPTION_TEXT; never NULL */
    const char *choices;      /* EW_OPTION_CHOICE: the words, separated by '|'; otherwise NULL */
    const char *help;         /* one sentence or two */
} ew_option_info;

/* The i-th row of the table, NULL behind the last. Static storage. Any thread. */
EW_API const ew_option_info *ew_option_at(size_t i);

#ifdef __cplusplus
}
#endif
#endif
