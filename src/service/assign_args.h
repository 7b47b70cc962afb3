/* The arguments of the reactor `assign`: the text of the option `reactor_args`. */
#ifndef SERVICE_ASSIGN_ARGS_H
#define SERVICE_ASSIGN_ARGS_H

#include <etcdworker/error.h>

typedef struct assign_args {
    int64_t tolerance; /* percent of its fair share that a member's load may be over or under it */
    int64_t budget;    /* tasks that one plan may move only to even loads out */
    int64_t grace_s;   /* how long the tasks of a member that has gone stay with it */
} assign_args;

/* Reads words name=number, separated by commas or blanks: tolerance, budget, grace. What is not given has its default.
 * EW_ERR_INVALID names the wrong word; EW_ERR_NO_MEMORY. */
int assign_args_parse(assign_args *out, const char *text, ew_error *err);

#endif
