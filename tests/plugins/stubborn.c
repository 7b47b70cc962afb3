/* A plugin whose first tick never ends: only a second signal ends the daemon. With the argument "fail" its creation
 * fails; with "finish" it finishes with its first tick. */
#include <etcdworker/reactor.h>
#include <unistd.h>

static int finish;

static int tick(void *self, ew_tick *t) {
    (void)self, (void)t;
    static const char text[] = "stubborn: ticking\n";
    if (write(2, text, sizeof text - 1) < 0)
        return EW_ERR_SYSTEM;
    while (!finish)
        pause();
    return EW_FINISHED;
}

static ew_status create(void **self, const ew_plugin_env *env, ew_error *err) {
    *self = NULL;
    finish = strcmp(env->args, "finish") == 0;
    if (strcmp(env->args, "fail") == 0)
        return ew_fail(err, EW_ERR_REACTOR, "asked to fail");
    return EW_OK;
}

static void destroy(void *self) {
    (void)self;
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

EW_PLUGIN(.name = "stubborn", .reactor = &reactor, .create = create, .destroy = destroy);
