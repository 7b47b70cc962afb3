/* The thread that tries handshakes. It is detached: if the client is closed meanwhile, the thread frees the data. */
#include "etcd/detached.h"
#include "etcd/handshake.h"

#include "core/options_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct one {
    target target; /* owns its texts */
    bool wanted;
    char result[160];
} one;

struct handshakes {
    atomic_int users; /* the thread and its starter */
    atomic_bool done;
    bool tls;
    ew_options *options;
    size_t count;
    one list[];
};

static void free_all(handshakes *h) {
    for (size_t i = 0; i < h->count; i++) {
        free(h->list[i].target.authority);
        free(h->list[i].target.address);
    }
    ew_options_free(h->options);
    free(h);
}

void handshakes_give(handshakes *h) {
    if (h && atomic_fetch_sub(&h->users, 1) == 1)
        free_all(h);
}

static void *run(void *arg) {
    handshakes *h = arg;
    for (size_t i = 0; i < h->count; i++) {
        one *o = &h->list[i];
        if (o->wanted)
            handshake_try(&o->target, h->tls, h->options, o->result, sizeof o->result);
    }
    atomic_store(&h->done, true);
    handshakes_give(h);
    return NULL;
}

static bool copy(one *to, const target *from, bool wanted) {
    to->wanted = wanted;
    to->target = (target){.authority = strdup(from->authority), .address = strdup(from->address), .port = from->port};
    return to->target.authority && to->target.address;
}

handshakes *handshakes_start(const targets *t, const bool *wanted, bool tls, const ew_options *options) {
    handshakes *h = calloc(1, sizeof *h + t->count * sizeof h->list[0]);
    if (!h)
        return NULL;
    h->tls = tls;
    h->options = options_copy(options);
    h->count = t->count;
    atomic_init(&h->users, 2);
    bool good = h->options != NULL;
    for (size_t i = 0; i < t->count; i++)
        good = copy(&h->list[i], &t->list[i], wanted[i]) && good;
    if (good && detached_start(run, h))
        return h;
    free_all(h);
    return NULL;
}

bool handshakes_are_done(handshakes *h) {
    return atomic_load(&h->done);
}

const char *handshakes_result(const handshakes *h, size_t i) {
    return atomic_load(&h->done) ? h->list[i].result : "";
}
