/* Faults of users: etcd requires authentication, and forgets its tokens. */
#include "chaos/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Enables authentication. From now on etcdctl authenticates. All other clients have credentials from the start, and
 * etcd ignores them while authentication is disabled. */
static void start_asking(world *w) {
    char text[512] = "";
    /* These commands fail if an earlier round has run them. */
    etcdctl(w->node[0], NULL, 0, "user", "add", WORLD_USER ":" WORLD_PASSWORD, NULL);
    etcdctl(w->node[0], NULL, 0, "role", "add", WORLD_USER, NULL);
    etcdctl(w->node[0], NULL, 0, "user", "grant-role", WORLD_USER, WORLD_USER, NULL);
    if (etcdctl(w->node[0], text, sizeof text, "auth", "enable", NULL) != 0)
        world_problem(w, "cannot enable authentication: %.200s", text);
    setenv("ETCDCTL_USER", WORLD_USER ":" WORLD_PASSWORD, 1);
}

static void stop_asking(world *w) {
    etcdctl(w->node[0], NULL, 0, "auth", "disable", NULL);
    unsetenv("ETCDCTL_USER");
}

/* Returns how often etcd has refused a token, from its logs. */
static unsigned refused_tokens(const world *w) {
    unsigned count = 0;
    for (int i = 0; i < w->nodes; i++) {
        char path[160], line[1024];
        snprintf(path, sizeof path, "%s/log", w->node[i]->dir);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f))
            count += strstr(line, "invalid auth token") != NULL;
        if (f)
            fclose(f);
    }
    return count;
}

/* A worker that sends nothing for longer than its token lives: its next request is refused. */
static void token_expired(injection *i) {
    enum { TOKEN_LIFE_MS = 2000 };
    unsigned worker = fault_one_worker(i), refused = refused_tokens(i->w);
    fault_slow_tick(i, worker, TOKEN_LIFE_MS + world_between(i->w, 1500, 3000));
    fault_healed(i);
    world_until_back(i->w, i->targets, EFFECT_LIMIT_MS);
    if (refused_tokens(i->w) == refused)
        fault_missed(i, "no token was refused");
}

/* Disables and enables authentication: all tokens become invalid. */
static void tokens_forgotten(injection *i) {
    unsigned refused = refused_tokens(i->w);
    i->targets = ALL_WORKERS;
    stop_asking(i->w);
    world_linger(i->w, world_between(i->w, 0, 200));
    start_asking(i->w);
    fault_healed(i);
    world_until_back(i->w, i->targets, EFFECT_LIMIT_MS);
    if (refused_tokens(i->w) == refused)
        fault_missed(i, "no token was refused");
}

const fault faults_of_users[] = {
    {"token-expired", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, token_expired,
     "a worker's token expires while the worker sends nothing", start_asking, stop_asking},
    {"tokens-forgotten", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, tokens_forgotten, "all tokens become invalid",
     start_asking, stop_asking},
    {NULL},
};
