#include "service/dev_etcd.h"
#include "service/dev_guard.h"
#include "service/dev_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* The server must answer within PATIENCE_MS; it is probed every LOOK_MS. */
enum { PATIENCE_MS = 20000, LOOK_MS = 50, ATTEMPTS = 5 };

struct dev_etcd {
    char *program;
    char directory[512];
    bool temporary;
    char log[544];
    char name[48];
    char endpoint[32];
    int port, peer_port;
    pid_t guard; /* 0: none */
};

const char *dev_etcd_endpoint(const dev_etcd *d) {
    return d->endpoint;
}

const char *dev_etcd_directory(const dev_etcd *d) {
    return d->directory;
}

/* ---- the program ---- */

static bool is_program(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* EW_OK, EW_ERR_NOT_FOUND or EW_ERR_NO_MEMORY. */
static int find_in_path(char **out, const char *name) {
    const char *list = getenv("PATH");
    for (const char *at = list ? list : ""; *at;) {
        size_t len = strcspn(at, ":");
        char *path = NULL;
        if (asprintf(&path, "%.*s/%s", (int)len, at, name) < 0)
            return EW_ERR_NO_MEMORY;
        if (len > 0 && is_program(path)) {
            *out = path;
            return EW_OK;
        }
        free(path);
        at += len + (at[len] == ':');
    }
    return EW_ERR_NOT_FOUND;
}

static int take_program(char **out, const char *path) {
    if (!is_program(path))
        return EW_ERR_NOT_FOUND;
    *out = strdup(path);
    return *out ? EW_OK : EW_ERR_NO_MEMORY;
}

static int find_program(dev_etcd *d, const char *name, ew_error *err) {
    int status = strchr(name, '/') ? take_program(&d->program, name) : find_in_path(&d->program, name);
    if (status == EW_ERR_NO_MEMORY)
        return ew_fail(err, status, "out of memory");
    if (status == EW_OK)
        return EW_OK;
    return ew_fail(err, EW_ERR_INVALID,
                   strchr(name, '/') ? "option etcd_path: %.100s is not an executable file"
                                     : "no program '%.100s' in PATH; install etcd (Debian: apt-get install "
                                       "etcd-server), or set its path with --etcd-path",
                   name);
}

/* ---- the directory ---- */

static int make_directory(dev_etcd *d, const char *data, ew_error *err) {
    const char *parent = getenv("TMPDIR");
    d->temporary = data[0] == '\0';
    int len = d->temporary ? snprintf(d->directory, sizeof d->directory, "%s/etcdworker-dev-XXXXXX",
                                      parent && parent[0] == '/' ? parent : "/tmp")
                           : snprintf(d->directory, sizeof d->directory, "%s", data);
    if (len >= (int)sizeof d->directory) {
        d->temporary = false;
        return ew_fail(err, EW_ERR_INVALID, "private etcd: the path of the data directory is too long");
    }
    bool made = d->temporary ? mkdtemp(d->directory) != NULL : mkdir(d->directory, 0700) == 0 || errno == EEXIST;
    if (!made) {
        d->temporary = false;
        return ew_fail(err, EW_ERR_INVALID, "private etcd: cannot create the directory %.160s: %s", d->directory,
                       strerror(errno));
    }
    snprintf(d->log, sizeof d->log, "%s/etcd.log", d->directory);
    return EW_OK;
}

/* Writes the last line of the server's log to `out`. */
static void last_words(const dev_etcd *d, char *out, size_t size) {
    char text[2048];
    FILE *f = fopen(d->log, "re");
    size_t len = 0;
    if (f) {
        if (fseek(f, -(long)(sizeof text - 1), SEEK_END) != 0)
            rewind(f);
        len = fread(text, 1, sizeof text - 1, f);
        fclose(f);
    }
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = '\0';
    const char *newline = strrchr(text, '\n'), *line = newline ? newline + 1 : text;
    snprintf(out, size, "%.160s", line[0] ? line : "none");
}

/* ---- the process ---- */

/* Returns the environment without ETCD_*, from which etcd reads options: those of this process are not meant for the
 * private etcd. ETCD_UNSUPPORTED_ARCH stays, because etcd does not start without it on some architectures. */
static char **clean_environment(void) {
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **clean = calloc(count + 1, sizeof *clean);
    for (size_t i = 0; clean && i < count; i++) {
        if (strncmp(environ[i], "ETCD_", 5) != 0 || strncmp(environ[i], "ETCD_UNSUPPORTED_ARCH=", 22) == 0)
            clean[kept++] = environ[i];
    }
    return clean;
}

static int spawn_guard(dev_etcd *d, char **argv, char **environment) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, d->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setsigdefault(&how, &all);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int code = posix_spawn(&d->guard, "/proc/self/exe", &files, &how, argv, environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    if (code != 0)
        d->guard = 0;
    return code;
}

static int start_server(dev_etcd *d, ew_error *err) {
    char parent[16], client[64], peer[64], cluster[128], data[544];
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return ew_fail(err, EW_ERR_SYSTEM, "getrandom: %s", strerror(errno));
    d->port = dev_probe_free_port();
    d->peer_port = dev_probe_free_port();
    snprintf(d->name, sizeof d->name, "dev-%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    snprintf(d->endpoint, sizeof d->endpoint, "127.0.0.1:%d", d->port);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(client, sizeof client, "http://127.0.0.1:%d", d->port);
    snprintf(peer, sizeof peer, "http://127.0.0.1:%d", d->peer_port);
    snprintf(cluster, sizeof cluster, "%s=%s", d->name, peer);
    snprintf(data, sizeof data, "%s/data", d->directory);
    char *argv[] = {"etcdworkerd", DEV_GUARD_FLAG,
                    parent,        d->temporary ? d->directory : "",
                    d->program,    "--name",
                    d->name,       "--data-dir",
                    data,          "--listen-client-urls",
                    client,        "--advertise-client-urls",
                    client,        "--listen-peer-urls",
                    peer,          "--initial-advertise-peer-urls",
                    peer,          "--initial-cluster",
                    cluster,       NULL};
    char **environment = clean_environment();
    int code = environment ? spawn_guard(d, argv, environment) : ENOMEM;
    free(environment);
    return code == 0 ? EW_OK : ew_fail(err, EW_ERR_SYSTEM, "cannot start the private etcd: %s", strerror(code));
}

bool dev_etcd_has_ended(dev_etcd *d, ew_error *err) {
    if (d->guard > 0 && waitpid(d->guard, NULL, WNOHANG) == 0)
        return false;
    d->guard = 0;
    char words[200];
    last_words(d, words, sizeof words);
    ew_fail(err, EW_ERR_UNAVAILABLE, "the private etcd exited; its last log line: %s", words);
    return true;
}

/* Waits for LOOK_MS; returns true if a signal of `stop` came. The signal is raised again, so that the next wait gets
 * it. */
static bool wait_a_little(const sigset_t *stop) {
    const struct timespec look = {0, LOOK_MS * 1000000L};
    int signal = sigtimedwait(stop, NULL, &look);
    if (signal > 0)
        kill(getpid(), signal);
    return signal > 0;
}

static int wait_until_it_answers(dev_etcd *d, const sigset_t *stop, ew_error *err) {
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        if (dev_probe(d->port, d->name))
            return EW_OK;
        if (dev_etcd_has_ended(d, err))
            return EW_ERR_UNAVAILABLE;
        if (wait_a_little(stop))
            return ew_fail(err, EW_ERR_CANCELLED, "interrupted while the private etcd was starting");
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 < PATIENCE_MS);
    char words[200];
    last_words(d, words, sizeof words);
    return ew_fail(err, EW_ERR_UNAVAILABLE, "the private etcd did not answer in time; its last log line: %s", words);
}

/* Another program may take a port after it was found free and before etcd binds it; then other ports are tried. */
static int start_somewhere(dev_etcd *d, const sigset_t *stop, ew_error *err) {
    int status = EW_OK;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        ew_error why = {0};
        status = start_server(d, &why);
        if (status == EW_OK)
            status = wait_until_it_answers(d, stop, &why);
        if (status == EW_OK)
            return EW_OK;
        ew_fail(err, status, "%s", why.detail);
        if (!strstr(why.detail, "address already in use"))
            break;
    }
    return status;
}

int dev_etcd_start(dev_etcd **out, const char *program, const char *data, const sigset_t *stop, ew_error *err) {
    *out = NULL;
    dev_etcd *d = calloc(1, sizeof *d);
    if (!d)
        return ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    int status = find_program(d, program, err);
    if (status == EW_OK)
        status = make_directory(d, data, err);
    if (status == EW_OK)
        status = start_somewhere(d, stop, err);
    if (status == EW_OK)
        *out = d;
    else
        dev_etcd_stop(d);
    return status;
}

void dev_etcd_stop(dev_etcd *d) {
    if (!d)
        return;
    if (d->guard > 0) {
        kill(d->guard, SIGTERM);
        while (waitpid(d->guard, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (d->temporary)
        dev_guard_remove(d->directory);
    free(d->program);
    free(d);
}
