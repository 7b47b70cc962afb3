#include "lib/daemon.h"
#include "lib/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static char directory[] = "/tmp/etcdworker-service-XXXXXX";
static int logs;

int daemon_open(void **state) {
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    return setenv("TMPDIR", directory, 1);
}

int daemon_close(void **state) {
    (void)state;
    DIR *d = opendir(directory);
    bool clean = d != NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strncmp(e->d_name, "etcdworker-dev-", 15) == 0) {
            fprintf(stderr, "not removed: %s/%s\n", directory, e->d_name);
            clean = false;
        } else if (e->d_name[0] != '.') {
            unlinkat(dirfd(d), e->d_name, 0);
        }
    }
    if (d)
        closedir(d);
    rmdir(directory);
    return clean && daemon_processes(directory) == 0 ? 0 : -1;
}

const char *daemon_directory(void) {
    return directory;
}

const char *daemon_built(const char *name) {
    static char paths[4][512];
    static int next;
    const char *build = getenv("EW_BUILD_DIR");
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", build ? build : ".", name);
    return path;
}

static size_t command_line(char *const *arguments, char **argv, size_t size) {
    static char program[512];
    snprintf(program, sizeof program, "%s", daemon_built("etcdworkerd"));
    size_t count = 0;
    argv[count++] = program;
    for (; *arguments && count < size - 1; arguments++)
        argv[count++] = *arguments;
    argv[count] = NULL;
    return count;
}

int daemon_run(char *const *arguments, char *out, size_t size) {
    char *argv[40];
    command_line(arguments, argv, 40);
    return process_run(argv, out, size);
}

daemon_process daemon_start_by(char *const *before, char *const *arguments) {
    char *argv[40];
    daemon_process d;
    size_t count = 0;
    while (before[count] && count < 10) {
        argv[count] = before[count];
        count++;
    }
    command_line(arguments, argv + count, 40 - count);
    snprintf(d.log, sizeof d.log, "%s/log-%d", directory, ++logs);
    d.pid = process_start(argv, d.log);
    return d;
}

daemon_process daemon_start(char *const *arguments) {
    return daemon_start_by((char *[]){NULL}, arguments);
}

daemon_process daemon_start_to(char *const *arguments, int err) {
    char *argv[40];
    daemon_process d = {.log = "/dev/null"};
    command_line(arguments, argv, 40);
    d.pid = process_start_to(argv, err, err);
    return d;
}

void daemon_signal(const daemon_process *d, int signal) {
    assert_int_equal(kill(d->pid, signal), 0);
}

const char *daemon_log(const daemon_process *d) {
    static char text[1 << 18];
    FILE *f = fopen(d->log, "r");
    size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[len] = '\0';
    return text;
}

/* ---- waiting ---- */

static bool look_until(bool (*holds)(void *arg), void *arg) {
    for (int ms = 0; ms < DAEMON_WAIT_MS; ms += 20) {
        if (holds(arg))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return false;
}

void daemon_until(bool (*holds)(void *arg), void *arg, const char *what) {
    if (!look_until(holds, arg))
        fail_msg("timed out waiting for: %s", what);
}

typedef struct wanted {
    const daemon_process *d;
    const char *text;
} wanted;

static bool has_text(void *arg) {
    const wanted *w = arg;
    return strstr(daemon_log(w->d), w->text) != NULL;
}

void daemon_await(const daemon_process *d, const char *text) {
    if (!look_until(has_text, &(wanted){d, text}))
        fail_msg("no '%s' in the log:\n%s", text, daemon_log(d));
}

void daemon_await_field(const daemon_process *d, const char *name, char *out, size_t size) {
    char text[64];
    snprintf(text, sizeof text, " %s=", name);
    daemon_await(d, text);
    const char *value = strstr(daemon_log(d), text) + strlen(text);
    snprintf(out, size, "%.*s", (int)strcspn(value, " \n"), value);
}

typedef struct ending {
    pid_t pid;
    int status;
} ending;

static bool has_ended(void *arg) {
    ending *e = arg;
    return waitpid(e->pid, &e->status, WNOHANG) == e->pid;
}

int daemon_wait(daemon_process *d) {
    ending e = {d->pid, 0};
    if (!look_until(has_ended, &e)) {
        kill(d->pid, SIGKILL);
        fail_msg("the daemon does not exit:\n%s", daemon_log(d));
    }
    return WIFEXITED(e.status) ? WEXITSTATUS(e.status) : 128 + WTERMSIG(e.status);
}

/* ---- system ---- */

static bool has_in_command_line(const char *pid, const char *text) {
    char path[300], line[4096];
    snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
    FILE *f = fopen(path, "r");
    size_t len = f ? fread(line, 1, sizeof line, f) : 0;
    if (f)
        fclose(f);
    return memmem(line, len, text, strlen(text)) != NULL;
}

bool daemon_kill_etcd(void) {
    char data[200];
    bool killed = false;
    snprintf(data, sizeof data, "%s/etcdworker-dev-", directory);
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && has_in_command_line(e->d_name, data) &&
            has_in_command_line(e->d_name, "--initial-cluster"))
            killed = kill((pid_t)atoi(e->d_name), SIGKILL) == 0 || killed;
    }
    if (d)
        closedir(d);
    return killed;
}

size_t daemon_processes(const char *text) {
    size_t count = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d));)
        count += e->d_name[0] >= '1' && e->d_name[0] <= '9' && has_in_command_line(e->d_name, text);
    if (d)
        closedir(d);
    return count;
}

void daemon_http(int port, const char *path, char *out, size_t size) {
    char request[200];
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) > 0) {
        ssize_t got;
        while (len < size - 1 && (got = recv(fd, out + len, size - 1 - len, 0)) > 0)
            len += (size_t)got;
    }
    out[len] = '\0';
    close(fd);
}

long long daemon_metric(int port, const char *name) {
    static char page[32768];
    char text[100];
    daemon_http(port, "/metrics", page, sizeof page);
    snprintf(text, sizeof text, "\netcdworker_%s{", name);
    const char *at = strstr(page, text);
    at = at ? strstr(at, "} ") : NULL;
    return at ? strtoll(at + 2, NULL, 10) : 0;
}

typedef struct goal {
    int port;
    long long ticks;
} goal;

static bool has_ticked(void *arg) {
    const goal *g = arg;
    return daemon_metric(g->port, "ticks_total") >= g->ticks;
}

void daemon_await_ticks(int port, long long more) {
    goal g = {port, 1};
    daemon_until(has_ticked, &g, "a tick");
    g.ticks = daemon_metric(port, "ticks_total") + more;
    daemon_until(has_ticked, &g, "more ticks");
}
