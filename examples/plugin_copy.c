/* A small reactor in a shared object: it copies each key below <prefix>/in/ to <prefix>/out/, and deletes there what
 * was deleted from <prefix>/in/.
 *
 *     cc -shared -fPIC -o copy.so plugin_copy.c
 *     etcdworkerd --dev --prefix=/app --reactor=./copy.so
 *     etcdctl --endpoints=<as it logs> put /app/in/hello world
 *
 * The plugin need not be linked with the library: etcdworkerd, which loads it, contains the library. */
#include <etcdworker/log.h>
#include <etcdworker/reactor.h>

#include <stdio.h>
#include <stdlib.h>

typedef struct copy {
    char in[256], out[256]; /* "<prefix>/in/", "<prefix>/out/" */
} copy;

/* Returns the corresponding key below the other folder. */
static ew_slice twin(ew_slice key, const char *from, const char *to, char *buffer, size_t size) {
    size_t skip = strlen(from);
    int len = snprintf(buffer, size, "%s%.*s", to, (int)(key.len - skip), (const char *)key.data + skip);
    return (ew_slice){buffer, len < (int)size ? (size_t)len : size - 1};
}

/* A tick sees the whole prefix at one revision, so the reactor needs no history: it compares what exists with what
 * should exist. Each group is a transaction. If another client changes the same key meanwhile, the group is refused,
 * and evaluated again on the newer state. */
static int tick(void *self, ew_tick *t) {
    const copy *c = self;
    char buffer[1024];
    ew_entry e = {0}, there;
    while (ew_tick_scan(t, ew_str(c->in), &e)) {
        ew_slice key = twin(e.key, c->in, c->out, buffer, sizeof buffer);
        if (ew_tick_get(t, key, &there) != EW_OK || !ew_slice_equal(there.value, e.value))
            ew_group_put(ew_tick_group(t), key, e.value);
    }
    e = (ew_entry){0};
    while (ew_tick_scan(t, ew_str(c->out), &e)) {
        if (ew_tick_get(t, twin(e.key, c->out, c->in, buffer, sizeof buffer), &there) == EW_ERR_NOT_FOUND)
            ew_group_delete(ew_tick_group(t), e.key);
    }
    return EW_OK; /* groups keep their first error, and the worker checks it */
}

static ew_status create(void **self, const ew_plugin_env *env, ew_error *err) {
    copy *c = calloc(1, sizeof *c);
    if (!c)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    if (strlen(env->prefix) > 200) {
        free(c);
        return ew_fail(err, EW_ERR_INVALID, "the prefix is longer than 200 bytes: '%s'", env->prefix);
    }
    snprintf(c->in, sizeof c->in, "%s/in/", env->prefix);
    snprintf(c->out, sizeof c->out, "%s/out/", env->prefix);
    ew_log(EW_LOG_INFO, "copying from %s to %s", c->in, c->out);
    *self = c;
    return EW_OK;
}

static void destroy(void *self) {
    free(self);
}

static const ew_reactor reactor = EW_REACTOR(.tick = tick);

EW_PLUGIN(.name = "copy", .reactor = &reactor, .create = create, .destroy = destroy);
