/* etcdworkerd as a user runs it: the program of the build folder, with its log. */
#ifndef TESTS_LIB_DAEMON_H
#define TESTS_LIB_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { DAEMON_WAIT_MS = 60000 }; /* far beyond what anything here takes, also under a sanitizer */

typedef struct daemon_process {
    pid_t pid;
    char log[160];
} daemon_process;

/* Group fixtures: a directory for logs and temporary files (TMPDIR of what is started), which must be empty of what
 * daemons left when it is removed. */
int daemon_open(void **state);
int daemon_close(void **state);
const char *daemon_directory(void);

/* The path of something that was built. */
const char *daemon_built(const char *name);

/* Runs it to its end: the exit code (128 + the signal), and all that it printed. `arguments` ends in NULL. */
int daemon_run(char *const *arguments, char *out, size_t size);

/* Starts it. It is killed when the test program ends. */
daemon_process daemon_start(char *const *arguments);

/* The same, started by another program, whose command line `before` begins, and ends in NULL. */
daemon_process daemon_start_by(char *const *before, char *const *arguments);

/* The same, with its stderr, the log, in `err`, which stays the caller's: there is no `log` then. */
daemon_process daemon_start_to(char *const *arguments, int err);
void daemon_signal(const daemon_process *d, int signal);
int daemon_wait(daemon_process *d); /* the exit code, as above; fails the test if it does not end */

/* The log so far, until the next call. */
const char *daemon_log(const daemon_process *d);

/* Waits for a text in the log; fails the test if it does not come. */
void daemon_await(const daemon_process *d, const char *text);

/* Waits for `name=value` in the log and copies the value. */
void daemon_await_field(const daemon_process *d, const char *name, char *out, size_t size);

/* Looks again and again until `holds` does; fails the test, saying `what`, if it does not. */
void daemon_until(bool (*holds)(void *arg), void *arg, const char *what);

/* How many processes have the text in their command line. */
size_t daemon_processes(const char *text);

/* Kills (SIGKILL) the private etcd of a daemon of this test program; false if there is none. */
bool daemon_kill_etcd(void);

/* What an HTTP server of 127.0.0.1 answers, head and body; "" if it does not. */
void daemon_http(int port, const char *path, char *out, size_t size);

/* The value of a metric, 0 if the server does not answer. `name` without the prefix "etcdworker_". */
long long daemon_metric(int port, const char *name);

/* Waits until the worker has ticked so many times more; fails the test if it does not. */
void daemon_await_ticks(int port, long long more);

#endif
