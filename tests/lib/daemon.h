/* Runs etcdworkerd of the build directory as a user does, with its log. */
#ifndef TESTS_LIB_DAEMON_H
#define TESTS_LIB_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { DAEMON_WAIT_MS = 60000 }; /* far more than any wait here takes, also under a sanitizer */

typedef struct daemon_process {
    pid_t pid;
    char log[160];
} daemon_process;

/* Group fixtures: create a directory for logs and temporary files (TMPDIR of started programs); check that the daemons
 * left nothing in it, and remove it. */
int daemon_open(void **state);
int daemon_close(void **state);
const char *daemon_directory(void);

/* Returns the path of a built program. */
const char *daemon_built(const char *name);

/* Runs the daemon until it exits. Returns its exit code (128 + the signal) and copies all output to `out`. `arguments`
 * ends with NULL. */
int daemon_run(char *const *arguments, char *out, size_t size);

/* Starts the daemon. It is killed when the test program ends. */
daemon_process daemon_start(char *const *arguments);

/* Starts the daemon through another program, whose command line is `before`, ended by NULL, and then the daemon's. */
daemon_process daemon_start_by(char *const *before, char *const *arguments);

/* Starts the daemon with its stderr, which is the log, in `err`. The caller keeps `err`; `log` is not set. */
daemon_process daemon_start_to(char *const *arguments, int err);
void daemon_signal(const daemon_process *d, int signal);
int daemon_wait(daemon_process *d); /* returns the exit code, as above; fails the test if the daemon does not exit */

/* Returns the log so far, valid until the next call. */
const char *daemon_log(const daemon_process *d);

/* Waits for a text in the log; fails the test if it does not appear. */
void daemon_await(const daemon_process *d, const char *text);

/* Waits for `name=value` in the log and copies the value. */
void daemon_await_field(const daemon_process *d, const char *name, char *out, size_t size);

/* Polls until `holds` returns true; fails the test with the text `what` if it never does. */
void daemon_until(bool (*holds)(void *arg), void *arg, const char *what);

/* Returns the number of processes whose command line contains the text. */
size_t daemon_processes(const char *text);

/* Kills (SIGKILL) the private etcd of a daemon of this test program. Returns false if there is none. */
bool daemon_kill_etcd(void);

/* Copies the answer of an HTTP server on 127.0.0.1, head and body; "" if it does not answer. */
void daemon_http(int port, const char *path, char *out, size_t size);

/* Returns the value of a metric; 0 if the server does not answer. `name` has no prefix "etcdworker_". */
long long daemon_metric(int port, const char *name);

/* Waits for this many more ticks; fails the test if they do not come. */
void daemon_await_ticks(int port, long long more);

#endif
