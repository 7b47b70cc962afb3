/* The demo on terminals of several sizes: a screen that is updated in place, and every way in which it ends. */
#include "lib/daemon.h"
#include "lib/screen.h"

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
#include <termios.h>
#include <unistd.h>

extern char **environ;

static struct {
    int fd;
    struct termios before;
    char unread[1 << 16]; /* output that the screen has not processed */
    size_t len;
    screen screen;
    pid_t pid;
    int status;
} terminal;

static void set_size(int rows, int columns) {
    const struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    assert_int_equal(ioctl(terminal.fd, TIOCSWINSZ, &size), 0);
    screen_init(&terminal.screen, rows, columns);
}

/* Starts the demo as the leader of a session whose terminal the test controls, so that a typed Ctrl-C becomes SIGINT.
 */
static void start_on_terminal(int rows, int columns) {
    char program[600];
    snprintf(program, sizeof program, "%s", daemon_built("etcdworkerd"));
    char *argv[] = {program, "--dev", "--demo", NULL};
    terminal.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    terminal.len = 0;
    assert_true(terminal.fd >= 0 && grantpt(terminal.fd) == 0 && unlockpt(terminal.fd) == 0);
    set_size(rows, columns);
    assert_int_equal(tcgetattr(terminal.fd, &terminal.before), 0);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&how);
    posix_spawn_file_actions_addopen(&files, 0, ptsname(terminal.fd), O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, 0, 2);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID);
    setenv("TERM", "xterm", 1);
    assert_int_equal(posix_spawn(&terminal.pid, program, &files, &how, argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
}

/* ---- what it shows ---- */

static void read_terminal(void) {
    struct pollfd p = {.fd = terminal.fd, .events = POLLIN};
    while (poll(&p, 1, 0) > 0 && terminal.len < sizeof terminal.unread) {
        ssize_t got = read(terminal.fd, terminal.unread + terminal.len, sizeof terminal.unread - terminal.len);
        if (got <= 0)
            return;
        terminal.len += (size_t)got;
    }
}

static void drop(size_t len) {
    terminal.len -= len;
    memmove(terminal.unread, terminal.unread + len, terminal.len);
}

static bool shows(void *text) {
    read_terminal();
    drop(screen_feed(&terminal.screen, terminal.unread, terminal.len));
    return screen_has(&terminal.screen, text);
}

/* Output for the old size is dropped: the screen is cleared first for a new size. */
static bool is_sampled_again(void *arg) {
    (void)arg;
    read_terminal();
    const char *begin = memmem(terminal.unread, terminal.len, "\x1b[2J", 4);
    drop(begin ? (size_t)(begin - terminal.unread) : terminal.len > 4 ? terminal.len - 4 : 0);
    return begin != NULL;
}

static void resize(int rows, int columns) {
    set_size(rows, columns);
    daemon_until(is_sampled_again, NULL, "a picture of the new size");
    daemon_until(shows, "etcdworkerd", "the head");
    daemon_until(shows, "  m1", "a member");
}

static void type(const char *keys) {
    assert_int_equal(write(terminal.fd, keys, strlen(keys)), strlen(keys));
}

static bool has_ended(void *arg) {
    (void)arg;
    shows("");
    return waitpid(terminal.pid, &terminal.status, WNOHANG) == terminal.pid;
}

/* Waits for the exit code, and checks that the terminal's settings are restored. */
static void await_end(int code) {
    struct termios now;
    daemon_until(has_ended, NULL, "the end");
    assert_true(WIFEXITED(terminal.status));
    assert_int_equal(WEXITSTATUS(terminal.status), code);
    shows("");
    assert_true(terminal.screen.cursor);
    assert_int_equal(tcgetattr(terminal.fd, &now), 0);
    assert_int_equal(now.c_iflag, terminal.before.c_iflag);
    assert_int_equal(now.c_lflag, terminal.before.c_lflag);
    assert_memory_equal(now.c_cc, terminal.before.c_cc, sizeof now.c_cc);
    assert_int_equal(daemon_processes(daemon_directory()), 0);
    close(terminal.fd);
}

/* ---- the tests ---- */

static void test_the_screen_and_ctrl_c(void **state) {
    (void)state;
    start_on_terminal(40, 100);
    daemon_until(shows, "4 tasks", "an even share");
    assert_false(terminal.screen.cursor);
    daemon_until(shows, "m4 joined", "a member that joins");
    daemon_until(shows, "[t", "the mark of a task that has moved");
    assert_non_null(strstr(terminal.screen.cells[0], "etcdworkerd demo: q ends it."));
    assert_true(screen_has(&terminal.screen, "etcdctl get --prefix /demo/"));
    type("\x03");
    await_end(0);
}

/* Everything fits 24 lines of 80 characters; on a smaller terminal the rest is left out. */
static void test_it_fits_and_q_ends_it(void **state) {
    (void)state;
    static char *const parts[] = {
        "q ends it", "The reactor `assign`", "only what must move",        "  m3", "Last changes",
        "Next: in ", "etcdctl get --prefix", "tasks/mine '{\"weight\":3}'"};
    start_on_terminal(24, 80);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        daemon_until(shows, parts[i], parts[i]);
    daemon_until(shows, "m4 joined", "the first change");
    assert_false(terminal.screen.outgrown);
    resize(15, 60);
    daemon_until(shows, "q ends it.", "how to end it");
    daemon_until(shows, "Next: in ", "what comes next");
    daemon_until(shows, "Last changes", "changes");
    assert_false(terminal.screen.outgrown);
    resize(6, 20);
    assert_false(screen_has(&terminal.screen, "Last changes"));
    assert_false(terminal.screen.outgrown);
    resize(50, 180);
    daemon_until(shows, "etcdctl get --prefix", "all of it again");
    assert_false(terminal.screen.outgrown);
    type("xyz\r");
    daemon_until(shows, "m2 is gone", "that it goes on");
    assert_false(screen_has(&terminal.screen, "xyz")); /* no echo */
    type("q");
    await_end(0);
}

static void test_sigterm_restores_the_terminal(void **state) {
    (void)state;
    start_on_terminal(24, 80);
    daemon_until(shows, "q ends it", "the picture");
    kill(terminal.pid, SIGTERM);
    await_end(0);
}

static void test_the_end_of_etcd_restores_the_terminal(void **state) {
    (void)state;
    start_on_terminal(24, 80);
    daemon_until(shows, "4 tasks", "the picture");
    type("\x13\x1a"); /* Ctrl-S and Ctrl-Z are normal keys */
    daemon_until(shows, "m4 joined", "that it goes on");
    assert_true(daemon_kill_etcd());
    await_end(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_screen_and_ctrl_c),
        cmocka_unit_test(test_it_fits_and_q_ends_it),
        cmocka_unit_test(test_sigterm_restores_the_terminal),
        cmocka_unit_test(test_the_end_of_etcd_restores_the_terminal),
    };
    return cmocka_run_group_tests(tests, daemon_open, daemon_close);
}
