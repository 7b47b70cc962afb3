/* The reactor that the option `reactor` names: built-in, or from a plugin. */
#ifndef SERVICE_CHOSEN_H
#define SERVICE_CHOSEN_H

#include "service/assign.h"
#include "service/plugin.h"

#include <etcdworker/options.h>

typedef struct chosen {
    const ew_reactor *reactor;
    void *self;
    assign *assign; /* at most one of `assign` and `plugin` is in use */
    plugin plugin;
    char *prefix; /* normalised; the plugin's environment points to it */
} chosen;

/* Creates the reactor. EW_ERR_INVALID if there is no such reactor; a plugin's own error, with the plugin's name, if the
 * plugin cannot create it. */
int chosen_init(chosen *c, const ew_options *o, ew_error *err);
void chosen_fini(chosen *c);

/* Checks that chosen_init would find the reactor, without creating it. */
int chosen_check(const ew_options *o, ew_error *err);

/* Returns a reactor that does nothing. */
const ew_reactor *chosen_none(void);

#endif
