/* The JSON values of assign's keys. */
#ifndef SERVICE_ASSIGN_JSON_H
#define SERVICE_ASSIGN_JSON_H

#include <etcdworker/error.h>

/* What is wrong with a value. Never contains the value itself, which may be confidential. */
typedef struct assign_problem {
    char text[96]; /* "": nothing */
} assign_problem;

/* Reads member `name` of the JSON object `value` as a number from `min` to `max`. `*out` is unchanged if the member is
 * missing, the value is empty, or the value is invalid; only then `problem` has a text. EW_OK or EW_ERR_NO_MEMORY. */
int assign_json_number(ew_slice value, const char *name, int64_t min, int64_t max, int64_t *out,
                       assign_problem *problem);

/* Returns the id of the member that an assignment names; the caller frees it. "" if the value is invalid; NULL when out
 * of memory. */
char *assign_json_member(ew_slice value, assign_problem *problem);

/* Returns {"member":"<id>"}; the caller frees it. NULL when out of memory, or if the id is not UTF-8. */
char *assign_json_assignment(ew_slice member);

/* Checks that a JSON value can name the id. EW_ERR_INVALID: it is empty, not UTF-8, or contains a NUL byte;
 * EW_ERR_NO_MEMORY. */
int assign_json_can_name(ew_slice id);

#endif
