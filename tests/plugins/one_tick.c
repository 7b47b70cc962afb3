/* A plugin that finishes with its first tick, in which it writes its text argument to <text>/plugin. With the text
 * "tell" it logs what it knows, and fails with a reason. */
#include <etcdworker/log.h>
#include <etcdworker/reactor.h>

#include <stdio.h>
#include <stdlib.h>

static int tick(void *self, ew_tick *t) {
    const char *text = self;
    char key[256];
    if (strcmp(text, "tell") == 0) {
        const ew_slice prefix = ew_tick_prefix(t);
        ew_log(EW_LOG_INFO, "ticked below %.*s", (int)prefix.len, (const char *)prefix.data);
        return ew_tick_fail(t, EW_ERR_REACTOR, "the oven is cold at revision %s", "one");
    }
    snprintf(key, sizeof key, "%s/plugin", text);
    ew_group_put(ew_tick_group(t), ew_str(key), ew_str(text));
    return EW_FINISHED;
}

static ew_status create(void **self, const ew_plugin_env *env, ew_error *err) {
    ew_log(EW_LOG_INFO, "created for %s below %s", env->worker, env->prefix);
    *self = strdup(env->args);
    return *self ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
}

static void destroy(void *self) {
    free(self);
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

EW_PLUGIN(.name = "one tick", .reactor = &reactor, .create = create, .destroy = destroy);
