/* Options for the library's own code: a plain struct with one member per option, read without a search by name. */
#ifndef CORE_OPTIONS_INTERNAL_H
#define CORE_OPTIONS_INTERNAL_H

#include "core/log.h"

#include <etcdworker/options.h>

struct ew_options {
#define OPT_INT(group, name, value, min, max, help)   int64_t name;
#define OPT_SWITCH(group, name, value, help)          int64_t name; /* 0 or 1 */
#define OPT_CHOICE(group, name, choices, value, help) int64_t name; /* the position of the word */
#define OPT_TEXT(group, name, value, help)            char *name;   /* never NULL */
#include "core/options.def"
    log_sink log; /* of ew_options_set_log */
};

/* The positions of the words of each choice. */
enum { OPTIONS_PREFIX_PATH, OPTIONS_PREFIX_TEXTUAL };
enum { OPTIONS_ISOLATION_SNAPSHOT, OPTIONS_ISOLATION_SERIALIZABLE };
enum { OPTIONS_COUNTER_OFF, OPTIONS_COUNTER_COMPAT };

/* Returns a copy, to be freed with ew_options_free; NULL when out of memory. */
ew_options *options_copy(const ew_options *o);

#endif
