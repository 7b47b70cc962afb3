/* Reactors from shared objects. */
#ifndef SERVICE_PLUGIN_H
#define SERVICE_PLUGIN_H

#include <etcdworker/reactor.h>

typedef struct plugin {
    void *handle; /* dlopen's */
    const ew_plugin *table;
} plugin;

/* Loads the object and checks its table. Errors name the path and what is wrong. Of the object, only the constructors
 * run. */
int plugin_load(plugin *out, const char *path, ew_error *err);
void plugin_unload(plugin *p);

#endif
