/* The demo on a terminal: a picture that is drawn in place, and Ctrl-C, which ends everything. */
#include "lib/daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char seen[1 << 18];
static size_t seen_len;
static int terminal;

/* Starts it as the leader of a session whose terminal is ours, so that a Ctrl-C that we type becomes its SIGINT. */
static pid_t start_on_terminal(void) {
    char program[600];
    snprintf(program, sizeof program, "%s", daemon_built("etcdworkerd"));
    char *argv[] = {program, "--dev", "--demo", NULL};
    terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    struct winsize size = {.ws_row = 40, .ws_col = 100};
    assert_int_equal(ioctl(terminal, TIOCSWINSZ, &size), 0);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    posix_spawn_file_actions_addopen(&files, 0, ptsname(terminal), O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, 0, 2);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID);
    setenv("TERM", "xterm", 1);
    pid_t pid;
    assert_int_equal(posix_spawn(&pid, program, &files, &how, argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return pid;
}

/* Takes what the terminal shows. */
static void read_terminal(void) {
    struct pollfd p = {.fd = terminal, .events = POLLIN};
    while (poll(&p, 1, 0) > 0 && seen_len < sizeof seen - 1) {
        ssize_t got = read(terminal, seen + seen_len, sizeof seen - 1 - seen_len);
        if (got <= 0)
            return;
        seen_len += (size_t)got;
        seen[seen_len] = '\0';
    }
}

static bool shows(void *arg) {
    read_terminal();
    return strstr(seen, arg) != NULL;
}

static bool has_ended(void *arg) {
    read_terminal();
    pid_t *pid = arg;
    int status;
    if (waitpid(*pid, &status, WNOHANG) != *pid)
        return false;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

static void test_the_picture_and_ctrl_c(void **state) {
    (void)state;
    pid_t pid = start_on_terminal();
    daemon_until(shows, "\x1b[?25l\x1b[2J\x1b[H", "a clean screen without a cursor");
    daemon_until(shows, "4 tasks", "an even share");
    daemon_until(shows, "m4 joined", "a member that joins");
    daemon_until(shows, "[t", "the mark of a task that has moved");
    assert_non_null(strstr(seen, "Ctrl-C ends it."));
    assert_non_null(strstr(seen, "get --prefix /demo/"));
    assert_int_equal(write(terminal, "\x03", 1), 1);
    daemon_until(has_ended, &pid, "the end");
    read_terminal();
    assert_non_null(strstr(seen, "\x1b[?25h")); /* the cursor is back */
    assert_int_equal(daemon_processes(daemon_directory()), 0);
    close(terminal);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_picture_and_ctrl_c)};
    return cmocka_run_group_tests(tests, daemon_open, daemon_close);
}
