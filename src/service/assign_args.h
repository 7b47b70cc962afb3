/* The arguments of the reactor `assign`: the text of the option `reactor_args`. */
#ifndef SERVICE_ASSIGN_ARGS_H
#define SERVICE_ASSIGN_ARGS_H

#include <etcdworker/error.h>

typedef struct assign_args {
    int64_t tolerance; /* percent: how far a member's load may be above or below its fair share */
    int64_t budget;    /* how many tasks one plan may move only to even out loads */
    int64_t grace_s;   /* seconds for which an absent member keeps its tasks */
} assign_args;

/* Parses words `name=number`, separated by commas or blanks; the names are tolerance, budget and grace. A missing one
 * gets its default. EW_ERR_INVALID: the error names the wrong word; EW_ERR_NO_MEMORY. */
int assign_args_parse(assign_args *out, const char *text, ew_error *err);

#endif
