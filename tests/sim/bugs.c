#include "bugs.h"

#include <string.h>

bug ew_bug = BUG_NONE;

static const struct {
    const char *name, *help;
} table[] = {
#define BUG_ROW(name, help) {#name, help},
    BUGS(BUG_ROW)
#undef BUG_ROW
};

enum { COUNT = sizeof table / sizeof *table };

const char *bugs_name(size_t i) {
    return i < COUNT ? table[i].name : NULL;
}

const char *bugs_help(size_t i) {
    return i < COUNT ? table[i].help : NULL;
}

bool bugs_select(const char *name) {
    ew_bug = BUG_NONE;
    if (!name)
        return true;
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            ew_bug = (bug)(i + 1);
    return ew_bug != BUG_NONE;
}
