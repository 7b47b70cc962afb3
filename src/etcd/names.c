/* A lookup runs on a thread of its own, because it can block for as long as a name server does not answer. The thread
 * is detached: if the client is closed meanwhile, the thread frees the lookup. */
#include "etcd/names.h"
#include "etcd/detached.h"

#include <stdlib.h>

/* How often host names are looked up while there is no connection. */
#define INTERVAL_MS 1000

/* names_doubt during a lookup sets NEED_LOOKUP, so that this lookup does not clear it. */
enum { NEED_NONE, NEED_LOOKUP, NEED_RESULT };

typedef struct lookup {
    atomic_int users; /* the thread and its starter */
    atomic_bool done;
    endpoints found;
} lookup;

static void give(lookup *l) {
    if (atomic_fetch_sub(&l->users, 1) > 1)
        return;
    endpoints_fini(&l->found);
    free(l);
}

static void *run(void *arg) {
    lookup *l = arg;
    endpoints_look_up(&l->found);
    atomic_store(&l->done, true);
    give(l);
    return NULL;
}

/* Returns NULL without memory or a thread. */
static lookup *start(const char *text) {
    lookup *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    atomic_init(&l->users, 2);
    if (endpoints_init(&l->found, text, NULL) == EW_OK && detached_start(run, l))
        return l;
    endpoints_fini(&l->found);
    free(l);
    return NULL;
}

int names_init(names *n, const char *text, ew_error *err) {
    *n = (names){.text = text};
    int status = endpoints_init(&n->known, text, err);
    if (status == EW_OK && n->known.named) {
        n->any = true;
        endpoints_look_up(&n->known);
    }
    return status;
}

void names_fini(names *n) {
    if (n->running)
        give(n->running);
    endpoints_fini(&n->known);
}

void names_doubt(names *n) {
    if (n->any)
        atomic_store(&n->need, NEED_LOOKUP);
}

bool names_are_in_doubt(const names *n) {
    return n->any && atomic_load(&n->need) != NEED_NONE;
}

bool names_seek(names *n, int64_t now_ms) {
    if (!n->any)
        return false;
    if (!n->running) {
        if (now_ms < n->next_ms)
            return false;
        atomic_store(&n->need, NEED_RESULT);
        n->next_ms = now_ms + INTERVAL_MS;
        n->running = start(n->text);
        return false;
    }
    if (!atomic_load(&n->running->done))
        return false;
    int need = NEED_RESULT;
    atomic_compare_exchange_strong(&n->need, &need, NEED_NONE);
    endpoints older = n->known;
    n->known = n->running->found;
    n->running->found = (endpoints){0};
    endpoints_inherit(&n->known, &older); /* keep the old addresses of a host name that is not found now */
    endpoints_fini(&older);
    give(n->running);
    n->running = NULL;
    return true;
}
