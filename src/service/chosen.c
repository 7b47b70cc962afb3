#include "service/chosen.h"

#include "core/log.h"
#include "core/prefix.h"

#include <stdlib.h>

/* Does nothing: for users who only submit groups to the worker, or receive its ticks. */
static int no_tick(void *self, ew_tick *t) {
    (void)self, (void)t;
    return EW_OK;
}

static const ew_reactor none = EW_REACTOR(.tick = no_tick);

const ew_reactor *chosen_none(void) {
    return &none;
}

static bool is_built_in(const char *name) {
    return strcmp(name, "assign") == 0 || strcmp(name, "none") == 0;
}

static int find(plugin *p, const char *name, ew_error *err) {
    /* For a name without a slash, dlopen would search the system's library directories, which no user expects. */
    if (!strchr(name, '/'))
        return ew_fail(
            err, EW_ERR_INVALID,
            "option reactor: '%.90s' is not built in (assign, none); a plugin needs a path with a slash: ./%.90s", name,
            name);
    return plugin_load(p, name, err);
}

static int make(chosen *c, const ew_options *o, ew_error *err) {
    ew_error why = {0};
    c->prefix = prefix_normalise(ew_options_text(o, "prefix"));
    if (!c->prefix)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    const ew_plugin_env env = {.size = sizeof env,
                               .args = ew_options_text(o, "reactor_args"),
                               .prefix = c->prefix,
                               .worker = ew_options_text(o, "name")};
    int status = EW_OK;
    log_set_source(LOG_NAMED(env.worker));
    if (c->plugin.table->create)
        status = c->plugin.table->create(&c->self, &env, &why);
    log_set_source(NULL);
    if (status != EW_OK)
        return ew_fail(err, status, "plugin %.60s: %.160s", c->plugin.table->name,
                       why.detail[0] ? why.detail : ew_strerror(status));
    c->reactor = c->plugin.table->reactor;
    return EW_OK;
}

int chosen_init(chosen *c, const ew_options *o, ew_error *err) {
    *c = (chosen){0};
    const char *name = ew_options_text(o, "reactor");
    if (strcmp(name, "assign") == 0) {
        assign_args args;
        int status = assign_args_parse(&args, ew_options_text(o, "reactor_args"), err);
        if (status != EW_OK)
            return status;
        c->assign = assign_new(ew_options_text(o, "prefix"), ew_options_text(o, "name"), &args);
        c->self = c->assign;
        c->reactor = &assign_reactor;
        return c->assign ? EW_OK : ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    }
    if (strcmp(name, "none") == 0) {
        c->reactor = &none;
        return EW_OK;
    }
    int status = find(&c->plugin, name, err);
    if (status == EW_OK)
        status = make(c, o, err);
    if (status != EW_OK)
        chosen_fini(c);
    return status;
}

void chosen_fini(chosen *c) {
    assign_free(c->assign);
    if (c->plugin.handle && c->reactor && c->plugin.table->destroy)
        c->plugin.table->destroy(c->self);
    plugin_unload(&c->plugin);
    free(c->prefix);
    *c = (chosen){0};
}

int chosen_check(const ew_options *o, ew_error *err) {
    plugin p = {0};
    assign_args args;
    const char *name = ew_options_text(o, "reactor");
    if (strcmp(name, "assign") == 0)
        return assign_args_parse(&args, ew_options_text(o, "reactor_args"), err);
    int status = is_built_in(name) ? EW_OK : find(&p, name, err);
    plugin_unload(&p);
    return status;
}
