/* The reactor that the option `reactor` names: a built-in one, or a plugin's. */
#ifndef SERVICE_CHOSEN_H
#define SERVICE_CHOSEN_H

#include "service/assign.h"
#include "service/plugin.h"

#include <etcdworker/options.h>

typedef struct chosen {
    const ew_reactor *reactor;
    void *self;
    assign *assign; /* one of these two, or neither */
    plugin plugin;
    char *prefix; /* of the plugin's environment */
} chosen;

/* EW_ERR_INVALID when there is no such reactor; a plugin's own error, naming it, when it cannot be made. */
int chosen_init(chosen *c, const ew_options *o, ew_error *err);
void chosen_fini(chosen *c);

/* Whether chosen_init would find it, without making one. */
int chosen_check(const ew_options *o, ew_error *err);

/* A reactor that does nothing. */
const ew_reactor *chosen_none(void);

#endif
