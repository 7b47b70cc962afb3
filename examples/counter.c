/* A counter that any number of processes may increment at the same time, each a thousand times.
 *
 *     counter [ENDPOINTS [ROUNDS]]
 *
 * Every tick increments once. If another process changed the counter first, etcdworker runs `increment` again on the
 * newer value: no increment is lost, and none is counted twice. */
#include <etcdworker/etcdworker.h>

#include <stdio.h>
#include <stdlib.h>

static int increment(void *arg, const ew_entry *current, ew_value *next) {
    (void)arg;
    int64_t value = 0;
    if (current && !ew_slice_int(current->value, &value))
        return EW_ERR_REACTOR; /* the value is not a number: better no count than a wrong one */
    return ew_value_set_int(next, value + 1);
}

static int tick(void *self, ew_tick *t) {
    int *left = self;
    if (*left == 0) {
        ew_entry e;
        if (ew_tick_get(t, EW_STR("/counter/value"), &e) == EW_OK)
            printf("%.*s at revision %lld\n", (int)e.value.len, (const char *)e.value.data,
                   (long long)ew_tick_revision(t));
        return EW_FINISHED;
    }
    --*left;
    return ew_group_modify(ew_tick_group(t), EW_STR("/counter/value"), increment, NULL, NULL);
}

int main(int argc, char **argv) {
    static const ew_reactor reactor = EW_REACTOR(.tick = tick);
    int left = argc > 2 ? atoi(argv[2]) : 1000;
    ew_error err = {0};
    ew_worker *w = NULL;

    ew_options *o = ew_options_new();
    ew_status status = ew_options_set(o, "prefix", "/counter", &err);
    if (status == EW_OK && argc > 1)
        status = ew_options_set(o, "endpoints", argv[1], &err);
    if (status == EW_OK)
        status = ew_worker_open(&w, o, &reactor, &left, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    if (status != EW_OK)
        fprintf(stderr, "counter: %s: %s\n", ew_strerror(status), err.detail);
    ew_worker_close(w);
    ew_options_free(o);
    return status == EW_OK ? 0 : 1;
}
