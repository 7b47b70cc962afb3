/* The mistakes of core/bug.h, by name. */
#ifndef TESTS_SIM_BUGS_H
#define TESTS_SIM_BUGS_H

#include "core/bug.h"

#include <stddef.h>

const char *bugs_name(size_t i); /* NULL after the last */
const char *bugs_help(size_t i);

/* Puts a mistake back; NULL: none. Returns false if no mistake has this name. */
bool bugs_select(const char *name);

#endif
