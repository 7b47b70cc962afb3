/* Child processes of tests. Only with posix_spawn: gRPC and nng do not survive fork(). */
#ifndef TESTS_LIB_PROCESS_H
#define TESTS_LIB_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Prints a message and ends the test program. */
_Noreturn void process_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Starts a program and appends its output to `log`. The program gets SIGKILL when the calling thread ends. */
pid_t process_start(char *const *argv, const char *log);

/* Starts a program with its stdout in `out` and its stderr in `err`. The caller keeps both descriptors. */
pid_t process_start_to(char *const *argv, int out, int err);

/* Runs a program until it exits. Returns its exit code, or 128 + the signal that ended it, and copies its output. */
int process_run(char *const *argv, char *out, size_t size);

bool process_is_alive(pid_t pid); /* reaps the process if it has ended */
void process_end(pid_t pid, int signal);

/* Returns whether the process listens on this TCP port of 127.0.0.1. */
bool process_listens(pid_t pid, int port);

#endif
