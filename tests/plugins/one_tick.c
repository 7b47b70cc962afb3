/* A plugin whose first tick is its last, and writes the text that it was given to <text>/plugin. */
#include <etcdworker/reactor.h>

#include <stdio.h>
#include <stdlib.h>

static int tick(void *self, ew_tick *t) {
    const char *text = self;
    char key[256];
    snprintf(key, sizeof key, "%s/plugin", text);
    ew_group_put(ew_tick_group(t), ew_str(key), ew_str(text));
    return EW_FINISHED;
}

static int create(void **self, const char *args, ew_error *err) {
    *self = strdup(args);
    return *self != NULL ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
}

static void destroy(void *self) {
    free(self);
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

EW_API extern const ew_plugin etcdworker_plugin;
const ew_plugin etcdworker_plugin = {
    .abi = EW_PLUGIN_ABI, .name = "one tick", .reactor = &reactor, .create = create, .destroy = destroy};
