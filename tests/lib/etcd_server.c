#include "lib/etcd_server.h"
#include "lib/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGS_MAX        64
#define READY_TIMEOUT_S 30
#define START_ATTEMPTS  5
#define DIR_HEAD        "etcdworker-test-"

static void pause_ms(int ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static const char *binary(const char *variable, const char *name) {
    const char *path = getenv(variable);
    return path && path[0] ? path : name;
}

/* ---- directories ---- */

static const char *base_dir(void) {
    if (access("/dev/shm", W_OK) == 0)
        return "/dev/shm";
    const char *dir = getenv("TMPDIR");
    return dir && dir[0] ? dir : "/tmp";
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where) {
    (void)info, (void)type, (void)where;
    return remove(path);
}

static void remove_dir(const char *path) {
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Removes what killed tests could not clean up. The process id is in the directory's name. */
static void remove_leftovers(void) {
    DIR *d = opendir(base_dir());
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        int pid;
        if (sscanf(e->d_name, DIR_HEAD "%d-", &pid) == 1 && kill(pid, 0) != 0 && access(base_dir(), W_OK) == 0) {
            char path[512];
            snprintf(path, sizeof path, "%s/%s", base_dir(), e->d_name);
            remove_dir(path);
        }
    }
    closedir(d);
}

static void make_dir(etcd_server *s) {
    static bool swept;
    if (!swept)
        remove_leftovers();
    swept = true;
    snprintf(s->dir, sizeof s->dir, "%s/" DIR_HEAD "%d-XXXXXX", base_dir(), (int)getpid());
    if (!mkdtemp(s->dir))
        process_die("cannot make %s", s->dir);
    snprintf(s->name, sizeof s->name, "%s", strrchr(s->dir, '/') + 1);
}

/* ---- ports ---- */

int etcd_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        process_die("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

static void choose_ports(etcd_server *s, int host) {
    s->client_port = etcd_free_port();
    s->peer_port = etcd_free_port();
    s->health_port = etcd_free_port();
    snprintf(s->address, sizeof s->address, "127.0.0.%d:%d", host, s->client_port);
    snprintf(s->endpoint, sizeof s->endpoint, "%s", s->address);
}

/* ---- one server ---- */

static char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *format, ...) {
    char *out;
    va_list args;
    va_start(args, format);
    if (vasprintf(&out, format, args) < 0)
        process_die("out of memory");
    va_end(args);
    return out;
}

static void free_args(etcd_server *s) {
    for (char **a = s->argv; a && *a; a++)
        free(*a);
    free(s->argv);
    s->argv = NULL;
}

/* Returns the text after `head` in the first flag that starts with `head`; NULL if there is none. */
static const char *extra_value(const char *const *extra, const char *head) {
    for (const char *const *e = extra; e && *e; e++) {
        if (strncmp(*e, head, strlen(head)) == 0)
            return *e + strlen(head);
    }
    return NULL;
}

/* Replaces '#' by the number of the node. */
static char *number(char *flag, char digit) {
    char *at = strchr(flag, '#');
    if (at)
        *at = digit;
    return flag;
}

static void make_args(etcd_server *s, const char *members, const char *token, const char *const *extra, bool first) {
    free_args(s);
    s->argv = calloc(ARGS_MAX, sizeof *s->argv);
    s->tls = extra_value(extra, "--cert-file") != NULL;
    const char *scheme = s->tls ? "https" : "http";
    const char *also = first ? extra_value(extra, ETCD_ALSO_AT) : NULL;
    int n = 0;
    s->argv[n++] = text("%s", binary("EW_ETCD", "etcd"));
    s->argv[n++] = text("--name=%s", s->name);
    s->argv[n++] = text("--data-dir=%s/data", s->dir);
    s->argv[n++] = text("--listen-client-urls=%s://%s%s%s", scheme, s->address, also ? "," : "", also ? also : "");
    s->argv[n++] = text("--advertise-client-urls=%s://%s", scheme, s->address);
    s->argv[n++] = text("--listen-peer-urls=http://127.0.0.1:%d", s->peer_port);
    s->argv[n++] = text("--initial-advertise-peer-urls=http://127.0.0.1:%d", s->peer_port);
    s->argv[n++] = text("--listen-metrics-urls=http://127.0.0.1:%d", s->health_port);
    s->argv[n++] = text("--initial-cluster=%s", members);
    s->argv[n++] = text("--initial-cluster-token=%s", token);
    s->argv[n++] = text("--logger=zap");
    s->argv[n++] = text("--log-level=warn");
    for (const char *const *e = extra; e && *e; e++) {
        if (n == ARGS_MAX - 1)
            process_die("too many flags for etcd");
        if (strncmp(*e, ETCD_ALSO_AT, strlen(ETCD_ALSO_AT)) != 0 && strcmp(*e, ETCD_EACH_HOST) != 0)
            s->argv[n++] = number(text("%s", *e), s->address[strlen("127.0.0.")]);
    }
}

static void launch(etcd_server *s) {
    char log[160];
    snprintf(log, sizeof log, "%s/log", s->dir);
    s->pid = process_start(s->argv, log);
}

/* Copies one node's answer to an HTTP request; "" if it does not answer. */
static void http_get(const etcd_server *s, const char *request, char *answer, size_t answer_size) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->health_port)};
    struct timeval limit = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        process_die("no socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ssize_t size = 0, n = 0;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request)) {
        while (size < (ssize_t)answer_size - 1 && (n = recv(fd, answer + size, answer_size - 1 - (size_t)size, 0)) > 0)
            size += n;
    }
    close(fd);
    answer[size] = '\0';
}

/* The health check needs a quorum. */
static bool is_healthy(const etcd_server *s) {
    char answer[1024];
    http_get(s, "GET /health HTTP/1.0\r\n\r\n", answer, sizeof answer);
    return strstr(answer, "\"health\":\"true\"") != NULL;
}

int64_t etcd_server_metric(const etcd_server *s, const char *name) {
    static char page[1 << 20];
    char head[256];
    int64_t sum = -1;
    snprintf(head, sizeof head, "\n%s ", name);
    for (; s; s = s->next) {
        http_get(s, "GET /metrics HTTP/1.0\r\n\r\n", page, sizeof page);
        const char *line = strstr(page, head);
        if (line) /* etcd shows a counter of calls only after the first call */
            sum = (sum < 0 ? 0 : sum) + atoll(line + strlen(head));
    }
    return sum;
}

int etcd_server_watches(const etcd_server *s) {
    return (int)etcd_server_metric(s, "etcd_debugging_mvcc_watcher_total");
}

/* Returns false if etcd exits by itself, for example because another process has its port. */
static bool wait_until_ready(etcd_server *s) {
    for (int i = 0; i < READY_TIMEOUT_S * 50; i++) {
        if (!process_is_alive(s->pid)) {
            s->pid = 0;
            return false;
        }
        /* Healthy is not enough: the process that listens on the ports must be this server. */
        if (process_listens(s->pid, s->health_port) && process_listens(s->pid, s->client_port) && is_healthy(s))
            return true;
        pause_ms(20);
    }
    return false;
}

_Noreturn static void give_up(etcd_server *s) {
    char command[160], log[16384];
    snprintf(command, sizeof command, "%s/log", s->dir);
    process_run((char *[]){"tail", "-n", "30", command, NULL}, log, sizeof log);
    etcd_server_free(s);
    process_die("etcd does not become ready:\n%s", log);
}

/* ---- starting nodes ---- */

static etcd_server *make_node(void) {
    etcd_server *s = calloc(1, sizeof *s);
    if (!s)
        process_die("out of memory");
    make_dir(s);
    return s;
}

static void remove_data(const etcd_server *s) {
    char *data = text("%s/data", s->dir);
    remove_dir(data);
    free(data);
}

static char *member_list(etcd_server *const *nodes, int count) {
    char *list = text("%s", "");
    for (int i = 0; i < count; i++) {
        char *longer = text("%s%s%s=http://127.0.0.1:%d", list, i ? "," : "", nodes[i]->name, nodes[i]->peer_port);
        free(list);
        list = longer;
    }
    return list;
}

static bool launch_nodes(etcd_server *const *nodes, int count, const char *const *extra) {
    bool each_host = extra_value(extra, ETCD_EACH_HOST) != NULL;
    for (int i = 0; i < count; i++)
        choose_ports(nodes[i], each_host ? i + 1 : 1);
    char *members = member_list(nodes, count);
    for (int i = 0; i < count; i++) {
        make_args(nodes[i], members, nodes[0]->name, extra, i == 0);
        launch(nodes[i]);
    }
    free(members);
    bool ready = true;
    for (int i = 0; i < count; i++)
        ready = wait_until_ready(nodes[i]) && ready;
    return ready;
}

/* Another process may take a port before etcd does. Then all nodes start again on other ports. */
static void start_nodes(etcd_server *const *nodes, int count, const char *const *extra) {
    for (int attempt = 0; attempt < START_ATTEMPTS; attempt++) {
        if (launch_nodes(nodes, count, extra))
            return;
        if (count == 1 && nodes[0]->pid != 0)
            break; /* it runs but does not answer: other ports would not help */
        for (int i = 0; i < count; i++) {
            etcd_server_kill(nodes[i]);
            remove_data(nodes[i]);
        }
    }
    give_up(nodes[0]);
}

int etcd_server_nodes(void) {
    const char *nodes = getenv("EW_ETCD_NODES");
    return nodes && strcmp(nodes, "3") == 0 ? ETCD_CLUSTER_NODES : 1;
}

etcd_server *etcd_server_start(const char *const *extra) {
    etcd_server *nodes[ETCD_CLUSTER_NODES];
    int count = etcd_server_nodes();
    for (int i = 0; i < count; i++)
        nodes[i] = make_node();
    start_nodes(nodes, count, extra);
    size_t len = strlen(nodes[0]->endpoint);
    for (int i = 1; i < count; i++) {
        nodes[i - 1]->next = nodes[i];
        len += (size_t)snprintf(nodes[0]->endpoint + len, sizeof nodes[0]->endpoint - len, ",%s", nodes[i]->address);
    }
    return nodes[0];
}

/* ---- operations on a handle apply to all of its nodes ---- */

static void end_all(etcd_server *s, int signal) {
    for (; s; s = s->next) {
        if (s->pid > 0)
            process_end(s->pid, signal);
        s->pid = 0;
    }
}

void etcd_server_kill(etcd_server *s) {
    end_all(s, SIGKILL);
}

void etcd_server_stop(etcd_server *s) {
    end_all(s, SIGTERM);
}

void etcd_server_restart_without_waiting(etcd_server *s) {
    for (; s; s = s->next) {
        if (s->pid == 0)
            launch(s);
    }
}

void etcd_server_restart(etcd_server *s) {
    /* An outgoing connection of another process may use the port for a moment. */
    for (int attempt = 0; attempt < START_ATTEMPTS; attempt++) {
        etcd_server_restart_without_waiting(s);
        bool ready = true, ended = false;
        for (etcd_server *node = s; node; node = node->next) {
            bool good = wait_until_ready(node);
            ready = ready && good;
            ended = ended || node->pid == 0;
        }
        if (ready)
            return;
        if (!ended)
            break;
        pause_ms(200);
    }
    give_up(s);
}

void etcd_server_replace(etcd_server *s) {
    static const char flag[] = "--initial-cluster-token=";
    etcd_server_kill(s);
    for (etcd_server *node = s; node; node = node->next) {
        remove_data(node);
        for (char **a = node->argv; *a; a++) {
            if (strncmp(*a, flag, sizeof flag - 1) == 0) {
                char *other = text("%s-another", *a); /* the cluster id is derived from it */
                free(*a);
                *a = other;
            }
        }
    }
    etcd_server_restart(s);
}

void etcd_server_wipe(etcd_server *s) {
    for (; s; s = s->next)
        remove_data(s);
}

void etcd_server_save(const etcd_server *s, const char *path) {
    etcd_server first = *s;
    char out[1024] = "";
    first.next = NULL; /* a snapshot is of one member */
    if (etcdctl(&first, out, sizeof out, "snapshot", "save", path, NULL) != 0)
        process_die("etcdctl snapshot save: %s", out);
}

static char *flag_of(const etcd_server *s, const char *head) {
    for (char **a = s->argv; *a; a++)
        if (strncmp(*a, head, strlen(head)) == 0)
            return *a;
    process_die("etcd was started without %s", head);
}

void etcd_server_restore(etcd_server *s, const char *path) {
    remove_data(s);
    char out[2048] = "";
    char *argv[] = {(char *)(uintptr_t)binary("EW_ETCDCTL", "etcdctl"),
                    "snapshot",
                    "restore",
                    (char *)(uintptr_t)path,
                    flag_of(s, "--name="),
                    flag_of(s, "--data-dir="),
                    flag_of(s, "--initial-cluster="),
                    flag_of(s, "--initial-cluster-token="),
                    flag_of(s, "--initial-advertise-peer-urls="),
                    NULL};
    if (process_run(argv, out, sizeof out) != 0)
        process_die("etcdctl snapshot restore: %s", out);
    if (s->next)
        etcd_server_restore(s->next, path);
}

static void copy_data(const char *from, const char *to) {
    char out[512] = "";
    if (process_run((char *[]){"cp", "-a", (char *)(uintptr_t)from, (char *)(uintptr_t)to, NULL}, out, sizeof out) != 0)
        process_die("cp -a %s %s: %s", from, to, out);
}

void etcd_server_keep_data(const etcd_server *s, const char *path) {
    char *data = text("%s/data", s->dir);
    remove_dir(path);
    copy_data(data, path);
    free(data);
}

void etcd_server_age(etcd_server *s, const char *path) {
    char *data = text("%s/data", s->dir);
    remove_data(s);
    copy_data(path, data);
    free(data);
}

void etcd_server_pause(etcd_server *s) {
    for (; s; s = s->next) {
        kill(s->pid, SIGSTOP);
        /* SIGSTOP takes a moment to reach every thread; until then the process answers requests. */
        if (waitpid(s->pid, NULL, WUNTRACED) != s->pid)
            process_die("etcd does not stop");
    }
}

void etcd_server_resume(etcd_server *s) {
    for (; s; s = s->next)
        kill(s->pid, SIGCONT);
}

void etcd_server_free(etcd_server *s) {
    if (!s)
        return;
    etcd_server_kill(s);
    for (etcd_server *next; s; s = next) {
        next = s->next;
        remove_dir(s->dir);
        free_args(s);
        free(s);
    }
}

/* ---- clients ---- */

ew_options *etcd_server_options(const etcd_server *s) {
    ew_options *o = ew_options_new();
    ew_error err;
    if (!o || ew_options_set(o, "endpoints", s->endpoint, &err) != EW_OK)
        process_die("options");
    return o;
}

ew_client *etcd_server_client(const etcd_server *s) {
    ew_options *o = etcd_server_options(s);
    ew_client *c;
    ew_error err;
    if (ew_client_open(&c, o, &err) != EW_OK)
        process_die("client: %s", err.detail);
    ew_options_free(o);
    return c;
}

int etcdctl(const etcd_server *s, char *out, size_t size, ...) {
    char endpoints[256] = "--endpoints=";
    for (const etcd_server *node = s; node; node = node->next) {
        size_t len = strlen(endpoints);
        snprintf(endpoints + len, sizeof endpoints - len, "%s%s%s", node == s ? "" : ",", s->tls ? "https://" : "",
                 node->address);
    }
    /* etcdctl's default is 5 s; a busy machine may need more. */
    char *argv[ARGS_MAX] = {(char *)(uintptr_t)binary("EW_ETCDCTL", "etcdctl"), endpoints, "--command-timeout=60s"};
    int n = 3;
    va_list args;
    va_start(args, size);
    while (n < ARGS_MAX - 1 && (argv[n] = va_arg(args, char *)))
        n++;
    va_end(args);
    return process_run(argv, out, size);
}

void etcdctl_all(const etcd_server *s, const char *const steps[][ETCDCTL_WORDS], size_t count) {
    for (size_t i = 0; i < count; i++) {
        char out[512];
        const char *const *w = steps[i];
        if (etcdctl(s, out, sizeof out, w[0], w[1], w[2], w[3], w[4], w[5], w[6], NULL) != 0)
            process_die("etcdctl %s %s: %s", w[0], w[1], out);
    }
}

void etcd_server_add_users(const etcd_server *s, const char *const *prefixes) {
    static const char *const users[][ETCDCTL_WORDS] = {
        {"user", "add", "root:rootpw"}, {"role", "add", "root"}, {"user", "grant-role", "root", "root"},
        {"user", "add", "app:secret"},  {"role", "add", "apps"}, {"user", "grant-role", "app", "apps"},
    };
    static const char *const on[][ETCDCTL_WORDS] = {{"auth", "enable"}};
    etcdctl_all(s, users, sizeof users / sizeof users[0]);
    for (; *prefixes; prefixes++) {
        const char *const grant[][ETCDCTL_WORDS] = {
            {"role", "grant-permission", "apps", "--prefix=true", "readwrite", *prefixes}};
        etcdctl_all(s, grant, 1);
    }
    etcdctl_all(s, on, 1);
}

/* ---- clusters of three ---- */

etcd_cluster *etcd_cluster_start(const char *const *extra) {
    etcd_cluster *c = calloc(1, sizeof *c);
    if (!c)
        process_die("out of memory");
    for (int i = 0; i < ETCD_CLUSTER_NODES; i++)
        c->nodes[i] = make_node();
    start_nodes(c->nodes, ETCD_CLUSTER_NODES, extra);
    snprintf(c->endpoints, sizeof c->endpoints, "%s,%s,%s", c->nodes[0]->endpoint, c->nodes[1]->endpoint,
             c->nodes[2]->endpoint);
    return c;
}

void etcd_cluster_free(etcd_cluster *c) {
    if (!c)
        return;
    for (int i = 0; i < ETCD_CLUSTER_NODES; i++)
        etcd_server_free(c->nodes[i]);
    free(c);
}

int etcd_cluster_leader(const etcd_cluster *c) {
    for (int attempt = 0; attempt < 600; attempt++) {
        for (int i = 0; i < ETCD_CLUSTER_NODES; i++) {
            char out[1024] = "";
            /* Fields: endpoint, id, version, size, is leader, ... */
            if (c->nodes[i]->pid > 0 &&
                etcdctl(c->nodes[i], out, sizeof out, "--command-timeout=2s", "endpoint", "status", NULL) == 0 &&
                strstr(out, ", true,"))
                return i;
        }
        pause_ms(50);
    }
    process_die("the cluster has no leader");
}
