#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { WORDS_MAX = 64, TIMEOUT_S = 300 };

/* Returns whether the role is in a separate program, because its etcd in memory defines the names of the client layer.
 */
static bool is_apart(const char *role) {
    return strcmp(role, "actors") == 0;
}

/* Finds the separate program: beside this program in the build folder, in libexec when installed. */
static void find_apart(char *path, size_t size) {
    static const char *const places[] = {"/", "/" BENCH_LIBEXEC "/"};
    char here[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", here, sizeof here - 1);
    here[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(here, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, size, "%s%setcdworker-bench-actors", here, places[i]);
        if (access(path, X_OK) == 0)
            return;
    }
}

/* Uses posix_spawn, because gRPC and nng do not work after a fork. This process itself uses neither. */
static int spawn(child *c, const char *path, char **argv, int in, int out) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    int code = posix_spawn(&c->pid, path, &files, &how, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return code;
}

static bool launch(child *c, bench *b, char **argv) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return bench_fail(b, "pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return bench_fail(b, "pipe: %s", strerror(errno));
    }
    char path[PATH_MAX + 64] = "/proc/self/exe";
    if (is_apart(c->role))
        find_apart(path, sizeof path);
    int code = spawn(c, path, argv, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    c->in = in[1];
    c->out = out[0];
    if (code == 0)
        return true;
    c->pid = 0;
    close(c->in);
    close(c->out);
    return bench_fail(b, "cannot start %s: %s", path, strerror(code));
}

static bool start(child *c, bench *b, const char *role, const char *format, va_list list) {
    char text[1024], endpoints[4096], cpu[16], settings[BENCH_SETS_MAX][160];
    char *argv[WORDS_MAX + BENCH_SETS_MAX + 4] = {"etcdworker-bench", "--child", (char *)(uintptr_t)role, endpoints};
    int argc = 4;
    *c = (child){.role = role};
    vsnprintf(text, sizeof text, format, list);
    if (snprintf(endpoints, sizeof endpoints, "endpoints=%s", b->endpoints) >= (int)sizeof endpoints)
        return bench_fail(b, "the list of endpoints is longer than %zu bytes", sizeof endpoints - sizeof "endpoints=");
    char *rest = text;
    for (char *word; argc < WORDS_MAX && (word = strsep(&rest, " "));)
        argv[argc++] = word;
    for (int i = 0; i < b->set_count; i++) {
        snprintf(settings[i], sizeof settings[i], "set:%s", b->sets[i]);
        argv[argc++] = settings[i];
    }
    snprintf(cpu, sizeof cpu, "cpu=%d", b->cpu);
    argv[argc++] = cpu;
    argv[argc++] = b->plain ? "prepare=0" : "prepare=1";
    if (b->verbose)
        argv[argc++] = "verbose=1";
    return launch(c, b, argv);
}

bool child_start(child *c, bench *b, const char *role, const char *format, ...) {
    va_list list;
    va_start(list, format);
    bool ok = start(c, b, role, format, list);
    va_end(list);
    return ok;
}

/* Removes a complete line from the buffer and parses it. */
static json_t *take_line(child *c, bench *b) {
    char *end = memchr(c->line, '\n', c->len);
    if (!end)
        return NULL;
    size_t used = (size_t)(end - c->line) + 1;
    json_error_t problem;
    json_t *value = json_loadb(c->line, used, 0, &problem);
    memmove(c->line, c->line + used, c->len - used);
    c->len -= used;
    const char *error = json_string_value(json_object_get(value, "error"));
    if (value && !error)
        return value;
    bench_fail(b, "%s: %s", c->role, error ? error : problem.text);
    json_decref(value);
    return NULL;
}

/* Reads more of the child's output. Returns false at the end or on a timeout, which is recorded with bench_fail, or if
 * a signal asks for a stop. */
static bool fill(child *c, bench *b, int64_t deadline_ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t left_ms = deadline_ms - ((int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000);
    struct pollfd fds[] = {{.fd = c->out, .events = POLLIN}, {.fd = b->signals, .events = POLLIN}};
    int ready = poll(fds, 2, left_ms > 0 ? (int)left_ms : 0);
    if (ready < 0 && errno == EINTR)
        return true;
    if (bench_interrupted(b))
        return false;
    if (ready <= 0)
        return bench_fail(b, "%s: no output within the time limit", c->role);
    if (c->capacity - c->len < 4096) {
        char *grown = realloc(c->line, c->capacity + 65536);
        if (!grown)
            return bench_fail(b, "out of memory");
        c->line = grown;
        c->capacity += 65536;
    }
    ssize_t got = read(c->out, c->line + c->len, c->capacity - c->len);
    if (got <= 0 && !bench_interrupted(b))
        return bench_fail(b, "%s: exited without a result", c->role);
    c->len += got > 0 ? (size_t)got : 0;
    return got > 0;
}

json_t *child_read(child *c, bench *b, int timeout_s) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t deadline_ms = ((int64_t)t.tv_sec + timeout_s) * 1000 + t.tv_nsec / 1000000;
    while (c->len == 0 || !memchr(c->line, '\n', c->len))
        if (!fill(c, b, deadline_ms))
            return NULL;
    return take_line(c, b);
}

void child_end(child *c) {
    if (c->pid > 0) {
        close(c->in);
        close(c->out);
        kill(c->pid, SIGKILL); /* all its output is read */
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    free(c->line);
    *c = (child){0};
}

json_t *child_run(bench *b, const char *role, const char *format, ...) {
    child c;
    va_list list;
    va_start(list, format);
    bool ok = start(&c, b, role, format, list);
    va_end(list);
    json_t *result = ok ? child_read(&c, b, TIMEOUT_S) : NULL;
    child_end(&c);
    return result;
}
