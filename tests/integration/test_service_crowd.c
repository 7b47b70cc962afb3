/* The sockets that etcdworkerd opens for other programs, under many clients and under clients that break the protocol:
 * other clients wait a moment, and the worker is not disturbed (docs/architecture.md, Who may reach a socket). */
#include "lib/daemon.h"
#include "lib/etcd_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 128, CLIENTS = 300, REPLY_S = 5 };

static etcd_server *server;
static int clients[CLIENTS];
static size_t client_count;

static int set_up(void **state) {
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max < 1024 ? files.rlim_max : 1024; /* for the clients */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    server = etcd_server_start(NULL);
    return daemon_open(state);
}

static int tear_down(void **state) {
    etcd_server_free(server);
    return daemon_close(state);
}

/* ---- the daemon ---- */

typedef struct target {
    daemon_process d;
    int port;
} target;

/* With FILES descriptors. */
static target start(char *submit_url) {
    char endpoints[160], url[200], limit[32];
    target t;
    snprintf(endpoints, sizeof endpoints, "--endpoints=%s", server->endpoint);
    snprintf(limit, sizeof limit, "--nofile=%d", FILES);
    t.d = daemon_start_by((char *[]){"prlimit", limit, NULL},
                          (char *[]){endpoints, "--prefix=/crowd", "--reactor=none", "--submit", submit_url, NULL});
    daemon_await(&t.d, "msg=started");
    daemon_await_field(&t.d, "url", url, sizeof url);
    t.port = atoi(strrchr(url, ':') + 1);
    assert_true(t.port > 0);
    return t;
}

/* After each test, failed ones included: the next one counts its own. */
static int close_clients(void **state) {
    (void)state;
    for (size_t i = 0; i < client_count; i++)
        close(clients[i]);
    client_count = 0;
    return 0;
}

static void end(target *t) {
    close_clients(NULL);
    daemon_signal(&t->d, SIGTERM);
    int status = daemon_wait(&t->d);
    if (status != 0)
        fail_msg("%d: %s", status, daemon_log(&t->d));
}

static size_t count_files(const target *t) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)t->d.pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    size_t count = 0;
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2; /* without . and .. */
}

static bool has_files_left(void *arg) {
    return count_files(arg) <= FILES / 2;
}

/* ---- clients ---- */

/* Returns -1 if the connection is refused. */
static int connect_to(int port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = REPLY_S};
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends the greeting of an nng REQ socket. */
static int greet(int port) {
    int fd = connect_to(port);
    char greeting[8];
    if (fd >= 0 && send(fd, "\0SP\0\0\x30\0\0", 8, MSG_NOSIGNAL) == 8 && recv(fd, greeting, 8, MSG_WAITALL) == 8)
        return fd;
    close(fd);
    return -1;
}

/* A request without a body: a length of 8 bytes, and the request's id. */
static const char empty_request[] = {0, 0, 0, 0, 0, 0, 0, 4, '\x80', 0, 0, 1};

static bool send_request(int fd) {
    return send(fd, empty_request, sizeof empty_request, MSG_NOSIGNAL) == (ssize_t)sizeof empty_request;
}

/* Sends as many requests as are accepted, until the connection is closed. */
typedef struct flood {
    int fd;
    size_t sent; /* bytes of the current request */
} flood;

static bool is_closed(void *arg) {
    flood *f = arg;
    ssize_t n;
    while ((n = send(f->fd, empty_request + f->sent, sizeof empty_request - f->sent, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
        f->sent = (f->sent + (size_t)n) % sizeof empty_request;
    return n < 0 && errno != EAGAIN && errno != EINTR;
}

/* Whether a client that follows the protocol gets its reply. */
static bool is_served(void *arg) {
    const target *t = arg;
    char reply[12];
    int fd = greet(t->port);
    bool served = fd >= 0 && send_request(fd) && recv(fd, reply, sizeof reply, MSG_WAITALL) == (ssize_t)sizeof reply;
    close(fd);
    return served;
}

/* ---- tests ---- */

/* The client uses a responder for each reply, until the worker has none for other clients. */
static void test_a_client_that_reads_no_reply(void **state) {
    (void)state;
    target t = start("--submit-url=tcp://127.0.0.1:0");
    daemon_until(is_served, &t, "a client is served");
    flood f = {.fd = greet(t.port)};
    assert_true(f.fd >= 0);
    clients[client_count++] = f.fd;
    daemon_until(is_closed, &f, "the connection of a client that reads no reply is closed");
    daemon_await(&t.d, "the client does not read its replies");
    daemon_until(is_served, &t, "others are served again");
    f = (flood){.fd = greet(t.port)};
    clients[client_count++] = f.fd;
    is_closed(&f);
    end(&t); /* also while replies wait */
}

static void test_more_clients_than_connections(void **state) {
    (void)state;
    target t = start("--submit-url=tcp://127.0.0.1:0");
    while (client_count < CLIENTS && (clients[client_count] = greet(t.port)) >= 0)
        client_count++;
    assert_int_equal(client_count, CLIENTS);
    daemon_until(is_served, &t, "a newcomer is served");
    daemon_until(has_files_left, &t, "closed connections have given their descriptors back");
    daemon_await(&t.d, "limit of 16 connections");
    assert_null(strstr(daemon_log(&t.d), "listener closed"));
    end(&t);
}

/* nng waits without a limit for a WebSocket's request. */
static void test_handshakes_that_do_not_end(void **state) {
    (void)state;
    target t = start("--submit-url=ws://127.0.0.1:0/submit");
    while (client_count < CLIENTS && (clients[client_count] = connect_to(t.port)) >= 0)
        client_count++;
    assert_true(client_count >= FILES);
    daemon_await(&t.d, "listener closed: the process runs out of descriptors");
    daemon_until(has_files_left, &t, "the descriptors are free again");
    daemon_await(&t.d, "listener replaced");
    end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_client_that_reads_no_reply, close_clients),
        cmocka_unit_test_teardown(test_more_clients_than_connections, close_clients),
        cmocka_unit_test_teardown(test_handshakes_that_do_not_end, close_clients),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
