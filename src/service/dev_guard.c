#include "service/dev_guard.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 5 }; /* between SIGTERM and SIGKILL for the server */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st, (void)type, (void)where;
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

void dev_guard_remove(const char *directory) {
    if (directory[0] != '\0')
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Asks the kernel for `signal` when the parent dies. A parent that died before the prctl causes no signal, but getppid
 * differs. */
static int follow_parent(int signal, pid_t parent) {
    return prctl(PR_SET_PDEATHSIG, signal) == 0 && getppid() == parent;
}

static void run_server(char **argv, pid_t guard) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (follow_parent(SIGKILL, guard)) {
        execv(argv[0], argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    }
    _exit(127);
}

/* Waits for the end of the server, or for a signal. Returns 1 if the server exited by itself, 0 after a signal. */
static int watch_server(pid_t server, const sigset_t *signals) {
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal == SIGCHLD && waitpid(server, NULL, WNOHANG) == server)
            return 1;
        if (signal > 0 && signal != SIGCHLD)
            return 0;
    }
}

static void end_server(pid_t server) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    const struct timespec patience = {PATIENCE_S, 0};
    kill(server, SIGTERM);
    sigtimedwait(&child, NULL, &patience);
    if (waitpid(server, NULL, WNOHANG) == server)
        return;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

int dev_guard_main(int argc, char **argv) {
    if (argc < 5)
        return 2;
    sigset_t signals;
    sigemptyset(&signals);
    static const int list[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCHLD};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        sigaddset(&signals, list[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    pid_t guard = getpid(), server = -1;
    int alone = 0;
    if (follow_parent(SIGTERM, (pid_t)atoi(argv[2])) && (server = fork()) >= 0) {
        if (server == 0)
            run_server(argv + 4, guard);
        alone = watch_server(server, &signals);
        if (!alone)
            end_server(server);
    }
    /* If the server exited by itself, the parent reads its log in the directory, and then removes the directory. */
    if (!alone)
        dev_guard_remove(argv[3]);
    return alone;
}
