/* Child processes of tests. posix_spawn only: gRPC and nng do not survive fork(). */
#ifndef TESTS_LIB_PROCESS_H
#define TESTS_LIB_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Ends the test program with a message. */
_Noreturn void process_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Starts a program that gets SIGKILL when the calling thread ends, its output appended to `log`. */
pid_t process_start(char *const *argv, const char *log);

/* The same, with its output in `out`, and stderr in `err`, which stay the caller's. */
pid_t process_start_to(char *const *argv, int out, int err);

/* Runs one to its end: its exit code, 128 + the signal that ended it, and what it printed. */
int process_run(char *const *argv, char *out, size_t size);

bool process_is_alive(pid_t pid); /* reaps it when it is not */
void process_end(pid_t pid, int signal);

/* Whether the process listens on the TCP port of 127.0.0.1. */
bool process_listens(pid_t pid, int port);

#endif
