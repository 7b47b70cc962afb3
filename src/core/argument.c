#include "core/argument.h"

bool argument_missing(const void *pointer, const char *argument, const char *function, ew_error *err) {
    if (pointer)
        return false;
    ew_fail(err, EW_ERR_INVALID, "%s: the argument '%s' is NULL", function, argument);
    return true;
}
