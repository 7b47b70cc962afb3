/* Faults of etcd itself: its members, its leader, its space. */
#include "chaos/fault.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static etcd_server *pick_member(injection *i) {
    world *w = i->w;
    if (w->nodes == 1)
        return w->node[0];
    /* The leader, and every second time any member. */
    return w->node[i->times % 2 == 0 ? (uint64_t)etcd_cluster_leader(w->cluster) : world_roll(w, NODES_MAX)];
}

/* Checks that nothing is written through that member for this time. */
static void still_for(injection *i, const etcd_server *s, int ms) {
    int64_t until_us = journal_now_us() + (int64_t)ms * 1000;
    if (etcdctl(s, NULL, 0, "--command-timeout=300ms", "put", "/chaos-still", "x", NULL) == 0)
        fault_missed(i, "etcd did not stop");
    int64_t left_us = until_us - journal_now_us();
    world_linger(i->w, left_us > 0 ? (int)(left_us / 1000) : 0);
}

typedef struct dialing {
    injection *injection;
    uint64_t made;
} dialing;

static bool has_dialed(world *w, void *arg) {
    const dialing *d = arg;
    (void)w;
    return fault_counts(d->injection).made > d->made;
}

static void member_killed(injection *i) {
    etcd_server *s = pick_member(i);
    i->targets = ALL_WORKERS;
    dialing again = {i, fault_counts(i).made};
    etcd_server_kill(s);
    if (i->w->nodes > 1)
        fault_healed(i); /* the other members can go on at once */
    world_linger(i->w, i->brief ? 300 : world_between(i->w, 0, 5000));
    etcd_server_restart(s);
    if (i->w->nodes == 1)
        fault_healed(i);
    if (!world_until(i->w, has_dialed, &again, EFFECT_LIMIT_MS))
        fault_missed(i, "no connection was lost");
}

/* A member that keeps all of its connections open and answers nothing. */
static void member_paused(injection *i) {
    etcd_server *s = pick_member(i);
    i->targets = ALL_WORKERS;
    for (int node = 0; i->w->nodes > 1 && node < i->w->nodes; node++)
        if (i->w->node[node] == s)
            fault_await_traffic(i, node);
    etcd_server_pause(s);
    if (i->w->nodes == 1)
        still_for(i, s, i->brief ? 1500 : world_between(i->w, 400, 12000));
    else
        fault_await_detour(i);
    etcd_server_resume(s);
    fault_healed(i);
}

static bool is_healthy(world *w, void *arg) {
    (void)w;
    return etcdctl(arg, NULL, 0, "--command-timeout=2s", "endpoint", "health", NULL) == 0;
}

static void quorum_lost(injection *i) {
    world *w = i->w;
    etcd_server *spared = pick_member(i), *lost[NODES_MAX];
    size_t n = 0;
    for (int k = 0; k < NODES_MAX; k++)
        if (w->node[k] != spared)
            lost[n++] = w->node[k];
    bool kill = i->times % 2 == 1;
    i->targets = ALL_WORKERS;
    for (size_t k = 0; k < n; k++)
        kill ? etcd_server_kill(lost[k]) : etcd_server_pause(lost[k]);
    still_for(i, spared, i->brief ? 2500 : world_between(w, 500, 9000));
    for (size_t k = 0; k < n; k++)
        kill ? etcd_server_restart_without_waiting(lost[k]) : etcd_server_resume(lost[k]);
    /* After SIGCONT the members contend for the leadership for seconds, and serve no requests. */
    for (size_t k = 0; k < n; k++)
        if (!world_until(w, is_healthy, lost[k], EFFECT_LIMIT_MS))
            fault_missed(i, "etcd did not recover");
    fault_healed(i);
}

/* All members are away for longer than the workers' short leases live; the history is compacted as soon as etcd
 * answers. */
static void outage(injection *i) {
    enum { TTL_MS = 2000 };
    world *w = i->w;
    bool kill = i->times % 2 == 0;
    int64_t revision = recorder_revision(w->recorder);
    ew_error err = {0};
    i->targets = ALL_WORKERS;
    for (int k = 0; k < w->nodes; k++)
        kill ? etcd_server_kill(w->node[k]) : etcd_server_pause(w->node[k]);
    still_for(i, w->node[0], i->brief ? 3 * TTL_MS : world_between(w, 2 * TTL_MS, 20000));
    for (int k = 0; k < w->nodes; k++)
        kill ? etcd_server_restart_without_waiting(w->node[k]) : etcd_server_resume(w->node[k]);
    for (int k = 0; k < w->nodes; k++)
        if (!world_until(w, is_healthy, w->node[k], EFFECT_LIMIT_MS))
            fault_missed(i, "etcd did not recover");
    fault_healed(i);
    if (ew_client_compact(w->client, revision, NULL, &err) != EW_OK && err.code != EW_ERR_COMPACTED)
        fault_missed(i, "cannot compact: %s", err.detail);
}

/* ---- the leader ---- */

/* Returns etcd's id of a member, from `endpoint status`. */
static bool member_id(const etcd_server *s, char *out, size_t size) {
    char text[1024] = "", id[32];
    if (etcdctl(s, text, sizeof text, "--command-timeout=5s", "endpoint", "status", NULL) != 0 ||
        sscanf(text, "%*[^,], %31[0-9a-f],", id) != 1)
        return false;
    snprintf(out, size, "%s", id);
    return true;
}

static void leader_moved(injection *i) {
    world *w = i->w;
    int leader = etcd_cluster_leader(w->cluster), next = (leader + world_between(w, 1, 2)) % NODES_MAX;
    char id[32] = "", text[512] = "";
    i->targets = ALL_WORKERS;
    if (!member_id(w->node[next], id, sizeof id) ||
        etcdctl(w->node[leader], text, sizeof text, "move-leader", id, NULL) != 0)
        fault_missed(i, "the leader did not move: %.60s", text);
    fault_healed(i);
    if (etcd_cluster_leader(w->cluster) == leader)
        fault_missed(i, "the leader is the same");
}

/* ---- space ---- */

/* Raises the NOSPACE alarm as etcd does when it is full. Uses etcd's JSON gateway, since etcdctl can only disarm an
 * alarm. */
static bool raise_alarm(const etcd_server *s) {
    static const char body[] = "{\"action\":\"ACTIVATE\",\"memberID\":\"1\",\"alarm\":\"NOSPACE\"}";
    char request[256], answer[512];
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->client_port)};
    struct timeval limit = {.tv_sec = 5};
    int len = snprintf(request, sizeof request,
                       "POST /v3/maintenance/alarm HTTP/1.1\r\nHost: etcd\r\nContent-Length: %zu\r\n"
                       "Connection: close\r\n\r\n%s",
                       sizeof body - 1, body);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssize_t n = -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, (size_t)len, MSG_NOSIGNAL) == len)
        n = recv(fd, answer, sizeof answer - 1, 0);
    close(fd);
    answer[n > 0 ? n : 0] = '\0';
    return strstr(answer, " 200 ") != NULL;
}

/* Returns how many workers report that a transaction was refused for lack of space and waits. */
static unsigned waiting_for_space(const world *w) {
    unsigned count = 0;
    for (unsigned n = 0; n < WORKERS; n++)
        count += w->workers[n].control->no_space;
    return count;
}

static bool none_waits(world *w, void *arg) {
    (void)arg;
    return waiting_for_space(w) == 0;
}

static bool all_wait(world *w, void *arg) {
    (void)arg;
    return waiting_for_space(w) == WORKERS;
}

static void no_space(injection *i) {
    char text[512] = "";
    i->targets = ALL_WORKERS;
    if (!world_until(i->w, none_waits, NULL, EFFECT_LIMIT_MS))
        fault_missed(i, "etcd was already out of space");
    if (!raise_alarm(i->w->node[0]))
        fault_missed(i, "the alarm was not raised");
    if (!world_until(i->w, all_wait, NULL, EFFECT_LIMIT_MS))
        fault_missed(i, "of %d workers, %u met the alarm", WORKERS, waiting_for_space(i->w));
    world_linger(i->w, i->brief ? 500 : world_between(i->w, 50, 5000));
    if (etcdctl(i->w->node[0], text, sizeof text, "alarm", "disarm", NULL) != 0)
        world_problem(i->w, "cannot disarm the alarm: %.100s", text);
    fault_healed(i);
}

static const char *const short_lease[] = {"session_ttl_s=2", NULL};

const fault faults_of_members[] = {
    {"member-killed", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, member_killed, "SIGKILL of a member, then a restart"},
    {"member-paused", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, member_paused, "SIGSTOP of a member"},
    {"leader-moved", ON_THREE, ENDS_NOTHING, NULL, leader_moved, "the leadership moves to another member"},
    {"quorum-lost", ON_THREE, ENDS_NOTHING, NULL, quorum_lost, "two of three members are stopped or killed"},
    {"outage", ON_ONE | ON_THREE, ENDS_NOTHING, short_lease, outage,
     "all members are killed or stopped for longer than the leases live"},
    {"no-space", ON_ONE | ON_THREE, ENDS_NOTHING, NULL, no_space, "the NOSPACE alarm is raised and disarmed"},
    {NULL},
};
