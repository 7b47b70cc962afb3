#include "service/assign_json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static void say(assign_problem *problem, const char *text) {
    snprintf(problem->text, sizeof problem->text, "%s", text);
}

/* Returns whether jansson was out of memory since errno was cleared. jansson reports it only in errno, and returns the
 * same as for a text that is not JSON. */
static bool lacked_memory(void) {
    return errno == ENOMEM;
}

/* Parses the object; or NULL and the problem. jansson's own error text quotes the input, so only its position is used.
 */
static int load(ew_slice value, json_t **out, assign_problem *problem) {
    json_error_t err;
    problem->text[0] = '\0';
    errno = 0;
    *out = json_loadb(value.data, value.len, JSON_DECODE_ANY, &err);
    if (!*out && lacked_memory())
        return EW_ERR_NO_MEMORY;
    if (!*out) {
        snprintf(problem->text, sizeof problem->text, "not JSON, at byte %d", err.position);
    } else if (!json_is_object(*out)) {
        say(problem, "not a JSON object");
        json_decref(*out);
        *out = NULL;
    }
    return EW_OK;
}

int assign_json_number(ew_slice value, const char *name, int64_t min, int64_t max, int64_t *out,
                       assign_problem *problem) {
    json_t *object = NULL;
    problem->text[0] = '\0';
    if (value.len > 0 && load(value, &object, problem) != EW_OK)
        return EW_ERR_NO_MEMORY;
    json_t *number = object ? json_object_get(object, name) : NULL;
    if (json_is_integer(number) && json_integer_value(number) >= min && json_integer_value(number) <= max)
        *out = json_integer_value(number);
    else if (number)
        snprintf(problem->text, sizeof problem->text, "%s is not a whole number from %" PRId64 " to %" PRId64, name,
                 min, max);
    json_decref(object);
    return EW_OK;
}

char *assign_json_member(ew_slice value, assign_problem *problem) {
    json_t *object;
    if (load(value, &object, problem) != EW_OK)
        return NULL;
    json_t *member = object ? json_object_get(object, "member") : NULL;
    if (object && !json_is_string(member))
        say(problem, "member is missing or not a string");
    char *answer = strdup(json_is_string(member) ? json_string_value(member) : "");
    json_decref(object);
    return answer;
}

char *assign_json_assignment(ew_slice member) {
    json_t *object = json_pack("{s:s%}", "member", member.data, member.len);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

int assign_json_can_name(ew_slice id) {
    if (id.len == 0 || memchr(id.data, 0, id.len))
        return EW_ERR_INVALID;
    errno = 0;
    json_t *text = json_stringn(id.data, id.len);
    json_decref(text);
    return text ? EW_OK : lacked_memory() ? EW_ERR_NO_MEMORY : EW_ERR_INVALID;
}
