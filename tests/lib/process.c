#include "lib/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

void process_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "test fixture: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(70);
}

static pid_t spawn(char *const *argv, posix_spawn_file_actions_t *actions) {
    pid_t pid;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attributes, &none); /* a test may block signals for its own use */
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    int problem = posix_spawnp(&pid, argv[0], actions, &attributes, argv, environ);
    if (problem != 0)
        process_die("%s: %s", argv[0], strerror(problem));
    posix_spawnattr_destroy(&attributes);
    return pid;
}

static pid_t spawn_mortal(char *const *argv, posix_spawn_file_actions_t *actions) {
    /* posix_spawn cannot set the parent-death signal. setpriv sets it and executes the program. */
    char *head[] = {"setpriv", "--pdeathsig", "KILL", "--"};
    size_t count = 0;
    while (argv[count])
        count++;
    char **all = calloc(count + 5, sizeof *all);
    if (!all)
        process_die("out of memory");
    memcpy(all, head, sizeof head);
    memcpy(all + 4, argv, count * sizeof *argv);
    pid_t pid = spawn(all, actions);
    posix_spawn_file_actions_destroy(actions);
    free(all);
    return pid;
}

pid_t process_start(char *const *argv, const char *log) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    return spawn_mortal(argv, &actions);
}

pid_t process_start_to(char *const *argv, int out, int err) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    return spawn_mortal(argv, &actions);
}

int process_run(char *const *argv, char *out, size_t size) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        process_die("pipe: %s", strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    pid_t pid = spawn(argv, &actions);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    char piece[4096];
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], piece, sizeof piece)) > 0) {
        size_t space = out && size > used + 1 ? size - used - 1 : 0;
        size_t take = (size_t)n < space ? (size_t)n : space;
        if (take > 0)
            memcpy(out + used, piece, take);
        used += take;
    }
    if (out && size > 0)
        out[used] = '\0';
    close(ends[0]);
    int status;
    if (waitpid(pid, &status, 0) != pid)
        process_die("waitpid: %s", strerror(errno));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool process_is_alive(pid_t pid) {
    return waitpid(pid, NULL, WNOHANG) == 0;
}

void process_end(pid_t pid, int signal) {
    kill(pid, signal);
    if (signal != SIGKILL) {
        for (int i = 0; i < 1000; i++) {
            if (!process_is_alive(pid))
                return;
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
        kill(pid, SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

/* Returns the inode of the socket that listens on the port, from the kernel's table; 0 if there is none. */
static unsigned long listening_inode(int port) {
    FILE *f = fopen("/proc/net/tcp", "r");
    if (!f)
        return 0;
    char line[512];
    unsigned long found = 0;
    while (!found && fgets(line, sizeof line, f)) {
        unsigned int local_port, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %*x:%x %*x:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", &local_port, &state, &inode) == 3 &&
            (int)local_port == port && state == 0x0A)
            found = inode;
    }
    fclose(f);
    return found;
}

bool process_listens(pid_t pid, int port) {
    unsigned long inode = listening_inode(port);
    char path[320], want[64], have[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    DIR *d = inode ? opendir(path) : NULL;
    if (!d)
        return false;
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, e->d_name);
        ssize_t n = readlink(path, have, sizeof have - 1);
        if (n > 0) {
            have[n] = '\0';
            found = strcmp(have, want) == 0;
        }
    }
    closedir(d);
    return found;
}
