#include "service/signals.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* If SIGHUP is ignored at the start (nohup), the daemon must outlive the terminal, so SIGHUP stays ignored. */
static int is_ignored(int signal) {
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

int signals_open(sigset_t *stop) {
    sigemptyset(stop);
    sigaddset(stop, SIGTERM);
    sigaddset(stop, SIGINT);
    if (!is_ignored(SIGHUP))
        sigaddset(stop, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* if it is ignored, the kernel discards the exit status of children */
    sigset_t all = *stop;
    sigaddset(&all, SIGCHLD);
    if (pthread_sigmask(SIG_BLOCK, &all, NULL) != 0)
        return -1;
    return signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
}

int signals_take(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}
