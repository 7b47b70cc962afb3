/* The values of assign's keys. */
#ifndef SERVICE_ASSIGN_JSON_H
#define SERVICE_ASSIGN_JSON_H

#include <etcdworker/error.h>

/* What is wrong with a value; never the value itself, which may be nobody's business. */
typedef struct assign_problem {
    char text[96]; /* "" if nothing is */
} assign_problem;

/* Member `name` of the object `value` as a number from `min` to `max`; what `*out` was stays if it is not there, the
 * value is empty, or something is wrong. EW_OK or EW_ERR_NO_MEMORY. */
int assign_json_number(ew_slice value, const char *name, int64_t min, int64_t max, int64_t *out,
                       assign_problem *problem);

/* The member that an assignment names, to be freed; "" if the value cannot be read; NULL when out of memory. */
char *assign_json_member(ew_slice value, assign_problem *problem);

/* {"member":"<id>"}, to be freed; NULL when out of memory, or if the id is no UTF-8. */
char *assign_json_assignment(ew_slice member);

/* Whether an id can stand in JSON: EW_OK, EW_ERR_INVALID or EW_ERR_NO_MEMORY. */
int assign_json_can_name(ew_slice id);

#endif
