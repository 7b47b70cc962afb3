/* etcdworkerd's HTTP server: its pages, its health checks, and hostile clients. */
#include "lib/daemon.h"
#include "lib/etcd_server.h"
#include "lib/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static etcd_server *server;
static char out[65536];

static int set_up(void **state) {
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096; /* for 1,000 connections of the test's own */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    server = etcd_server_start(NULL);
    return daemon_open(state);
}

static int tear_down(void **state) {
    etcd_server_free(server);
    return daemon_close(state);
}

typedef struct page_server {
    daemon_process d;
    int port;
} page_server;

static char *endpoints(void) {
    static char flag[160];
    snprintf(flag, sizeof flag, "--endpoints=%s", server->endpoint);
    return flag;
}

static page_server start(char *listen, char *extra, char *more) {
    page_server p;
    char url[200];
    p.d = daemon_start((char *[]){endpoints(), listen, "--prefix=/<app>", "--tick-interval-ms=20", extra, more, NULL});
    daemon_await_field(&p.d, "url", url, sizeof url);
    p.port = atoi(strrchr(url, ':') + 1);
    assert_true(p.port > 0);
    return p;
}

static page_server start_here(char *extra, char *more) {
    return start("--http-listen=127.0.0.1:0", extra, more);
}

static void end(page_server *p) {
    daemon_signal(&p->d, SIGTERM);
    assert_int_equal(daemon_wait(&p->d), 0);
}

typedef struct wanted_page {
    int port;
    const char *path, *text;
} wanted_page;

static bool has_page(void *arg) {
    const wanted_page *w = arg;
    daemon_http(w->port, w->path, out, sizeof out);
    return strstr(out, w->text) != NULL;
}

static void await_page(const page_server *p, const char *path, const char *text) {
    daemon_until(has_page, &(wanted_page){p->port, path, text}, text);
}

/* Sends the bytes over a new connection and reads the answer. */
static void ask(int port, const char *bytes) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;
    ssize_t got;
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    send(fd, bytes, strlen(bytes), MSG_NOSIGNAL);
    while (len < sizeof out - 1 && (got = recv(fd, out + len, sizeof out - 1 - len, 0)) > 0)
        len += (size_t)got;
    out[len] = '\0';
    close(fd);
}

static void expect(int port, const char *bytes, const char *begin, const char *text) {
    ask(port, bytes);
    if (strncmp(out, begin, strlen(begin)) != 0 || !strstr(out, text))
        fail_msg("%.200s... was answered with:\n%s", bytes, out);
}

#define CLOSE "Host: localhost\r\nConnection: close\r\n\r\n"

static void test_pages(void **state) {
    (void)state;
    page_server p = start_here(NULL, NULL);
    await_page(&p, "/readyz", " 200 OK");
    assert_non_null(strstr(out, "\r\n\r\nready\n"));
    expect(p.port, "GET /livez HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "\r\n\r\nalive\n");
    expect(p.port, "GET /healthz HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "\r\n\r\nalive\n");
    expect(p.port, "GET /livez?verbose=1 HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "\r\n\r\nalive\n");
    expect(p.port, "GET /metrics HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "\netcdworker_ready{worker=\"worker\"} 1\n");
    assert_non_null(strstr(out, "\n# TYPE etcdworker_ticks_total counter\n"));
    expect(p.port, "GET / HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "<b>/&#60;app&#62;</b>");
    expect(p.port, "GET /etc/passwd HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404 ", "not found");
    expect(p.port, "GET /livez/ HTTP/1.1\r\n" CLOSE, "HTTP/1.1 404 ", "not found");
    expect(p.port, "HEAD /metrics HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "Content-Length: ");
    assert_null(strstr(out, "etcdworker_")); /* no body */
    end(&p);
}

static void test_requests_without_a_page(void **state) {
    (void)state;
    page_server p = start_here(NULL, NULL);
    await_page(&p, "/readyz", " 200 OK");
    expect(p.port, "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n" CLOSE "x=y", "HTTP/1.1 405 ",
           "Allow: GET, HEAD\r\n");
    expect(p.port, "DELETE / HTTP/1.1\r\n" CLOSE, "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n");
    expect(p.port, "BREW / HTTP/1.1\r\n" CLOSE, "HTTP/1.1 405 ", "Allow: GET, HEAD\r\n");
    expect(p.port, "this is no HTTP\r\n\r\n", "", "");
    /* The body of a GET is read and ignored. */
    expect(p.port, "GET /livez HTTP/1.1\r\nContent-Length: 5\r\n" CLOSE "abcde", "HTTP/1.1 200 ", "\r\n\r\nalive\n");
    /* Two requests on one connection. */
    expect(p.port, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nix HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ",
           "HTTP/1.1 404 ");
    end(&p);
}

/* ---- addresses ---- */

static bool answers_at(int family, int port) {
    struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool fine = fd >= 0 && (family == AF_INET6 ? connect(fd, (struct sockaddr *)&six, sizeof six)
                                               : connect(fd, (struct sockaddr *)&four, sizeof four)) == 0;
    if (fd >= 0)
        close(fd);
    return fine;
}

static bool has_ipv6(void) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&six, sizeof six) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void test_addresses(void **state) {
    (void)state;
    page_server p = start("--http-listen=:0", NULL, NULL);
    assert_true(answers_at(AF_INET, p.port));
    assert_true(!has_ipv6() || answers_at(AF_INET6, p.port));
    /* The port is in use. */
    char listen[64];
    snprintf(listen, sizeof listen, "--http-listen=:%d", p.port);
    assert_int_equal(daemon_run((char *[]){endpoints(), listen, NULL}, out, sizeof out), 71);
    assert_non_null(strstr(out, "Address already in use"));
    end(&p);
    p = start_here(NULL, NULL);
    assert_true(answers_at(AF_INET, p.port));
    assert_false(answers_at(AF_INET6, p.port));
    end(&p);
    if (!has_ipv6())
        return;
    p = start("--http-listen=[::1]:0", NULL, NULL);
    assert_non_null(strstr(daemon_log(&p.d), "url=http://[::1]:"));
    assert_true(answers_at(AF_INET6, p.port));
    assert_false(answers_at(AF_INET, p.port));
    end(&p);
}

static void test_wrong_addresses(void **state) {
    (void)state;
    static const char *const wrong[] = {"nowhere",        ":",      ":http",  ":65536",
                                        ":123456",        "::1:80", "[::1]",  "[nix]:80",
                                        "[127.0.0.1]:80", "[]:80",  "a/b:80", "http://localhost:80",
                                        "a b:80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char flag[100];
        snprintf(flag, sizeof flag, "--http-listen=%s", wrong[i]);
        int code = daemon_run((char *[]){"--check-config", flag, NULL}, out, sizeof out);
        if (code != 78 || !strstr(out, "option http_listen: '"))
            fail_msg("%s: %d, %s", flag, code, out);
    }
    assert_int_equal(
        daemon_run((char *[]){endpoints(), "--http-listen=no.such.host.invalid:80", NULL}, out, sizeof out), 78);
    assert_non_null(strstr(out, "option http_listen: no.such.host.invalid:80: "));
}

/* ---- health checks ---- */

static char *stubborn(void) {
    static char flag[600];
    snprintf(flag, sizeof flag, "--reactor=%s", daemon_built("plugins/stubborn.so"));
    return flag;
}

static void test_a_tick_that_does_not_end(void **state) {
    (void)state;
    page_server p = start_here(stubborn(), "--liveness-ms=1500");
    await_page(&p, "/livez", "503 ");
    assert_non_null(strstr(out, "\r\n\r\nstuck: tick 1 has been running for 1 s\n"));
    await_page(&p, "/healthz", "503 ");
    await_page(&p, "/readyz", "503 ");
    assert_non_null(strstr(out, "\r\n\r\nnot ready: tick 1 has been running for "));
    assert_true(daemon_metric(p.port, "alive") == 0 && daemon_metric(p.port, "tick_running_ms") > 1500);
    daemon_signal(&p.d, SIGKILL);
    assert_int_equal(daemon_wait(&p.d), 128 + SIGKILL);
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A restart could not help, however long this takes: longer than a thread may sleep, and than the receipt's lease
 * lives. */
static void test_etcd_is_away(void **state) {
    (void)state;
    enum { AWAY_MS = 12000 };
    page_server p = start_here("--liveness-ms=1000", "--receipt-ttl-s=5");
    await_page(&p, "/readyz", " 200 OK");
    etcd_server_pause(server);
    int64_t until_ms = now_ms() + AWAY_MS;
    await_page(&p, "/readyz", "not ready: not connected to etcd");
    do
        expect(p.port, "GET /livez HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "\r\n\r\nalive: not connected to etcd");
    while (now_ms() < until_ms && usleep(100000) == 0);
    etcd_server_resume(server);
    await_page(&p, "/readyz", " 200 OK");
    end(&p);
}

static void test_a_standby(void **state) {
    (void)state;
    page_server leader = start_here("--elect=/http/seat", "--name=leader");
    await_page(&leader, "/readyz", " 200 OK");
    page_server standby = start_here("--elect=/http/seat", "--name=standby");
    daemon_await(&standby.d, "campaigning for leadership");
    expect(standby.port, "GET /livez HTTP/1.1\r\n" CLOSE, "HTTP/1.1 200 ", "alive: campaigning for leadership\n");
    expect(standby.port, "GET /readyz HTTP/1.1\r\n" CLOSE, "HTTP/1.1 503 ", "not ready: campaigning for leadership\n");
    end(&leader);
    await_page(&standby, "/readyz", " 200 OK");
    end(&standby);
}

/* ---- hostile clients ---- */

static int open_idle(int port, const char *bytes) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Connections that do not fit into the backlog wait in the kernel; the test does not wait for them. */
    struct timeval patience = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && bytes)
        send(fd, bytes, strlen(bytes), MSG_NOSIGNAL);
    return fd;
}

static long cpu_ms(pid_t pid) {
    char path[64], line[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f && fgets(line, sizeof line, f))
        sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    if (f)
        fclose(f);
    return (long)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

/* Starts the daemon with a limit on open files. */
static page_server start_limited(const char *files) {
    page_server p = {.port = etcd_free_port()};
    char limit[32], listen[64];
    snprintf(limit, sizeof limit, "--nofile=%s", files);
    snprintf(listen, sizeof listen, "--http-listen=127.0.0.1:%d", p.port);
    p.d = daemon_start_by((char *[]){"prlimit", limit, NULL},
                          (char *[]){endpoints(), listen, "--prefix=/app", "--tick-interval-ms=20", NULL});
    await_page(&p, "/readyz", " 200 OK");
    return p;
}

/* Opens `count` connections and sends `bytes` on each, and nothing more. Meanwhile pages are served, the worker ticks
 * and keeps etcd, and no thread uses the CPU in a loop. */
static void abuse(const char *files, int count, const char *bytes) {
    page_server p = start_limited(files);
    int *fds = calloc((size_t)count, sizeof *fds);
    for (int i = 0; i < count; i++)
        fds[i] = open_idle(p.port, bytes);
    long before_ms = cpu_ms(p.d.pid);
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    daemon_await_ticks(p.port, 50);
    await_page(&p, "/readyz", " 200 OK");
    clock_gettime(CLOCK_MONOTONIC, &now);
    long wall_ms = (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000;
    long used_ms = cpu_ms(p.d.pid) - before_ms;
    print_message("%d connections at %s files: %ld ms of CPU in %ld ms\n", count, files, used_ms, wall_ms);
#ifndef EW_SANITIZED
    assert_true(used_ms < wall_ms / 2);
#endif
    assert_in_range(daemon_metric(p.port, "http_connections"), 1, 64);
    assert_int_equal(daemon_metric(p.port, "reconnects_total"), 0);
    for (int i = 0; i < count; i++)
        close(fds[i]);
    free(fds);
    end(&p);
}

static void test_idle_connections(void **state) {
    (void)state;
    abuse("256", 369, NULL);
    abuse("256", 1000, NULL);
    abuse("64", 200, NULL);
}

/* An idle connection is closed although no other one comes. */
static void test_idle_timeout(void **state) {
    (void)state;
    page_server p = start_here(NULL, NULL);
    char byte;
    int fd = open_idle(p.port, NULL);
    struct timeval patience = {.tv_sec = DAEMON_WAIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    end(&p);
}

static void test_slow_clients(void **state) {
    (void)state;
    abuse("256", 369, "GET /livez HTTP/1.1\r\nHost: slow\r\nX-Slow: ");
    abuse("256", 369, "POST / HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\nx");
    abuse("256", 369,
          "GET / HTTP/1.1\r\nHost: slow\r\n\r\nGET / HTTP/1.1\r\nHost: slow\r\n\r\n"); /* and reads nothing */
}

/* Sends a byte now and then, for ever: the connection is closed when others come. */
static void test_slow_loris(void **state) {
    (void)state;
    enum { MANY = 100, ROUNDS = 20 };
    page_server p = start_limited("256");
    int fds[MANY];
    for (int i = 0; i < MANY; i++)
        fds[i] = open_idle(p.port, "GET / HTTP/1.1\r\nX: ");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < MANY; i++)
            send(fds[i], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        daemon_http(p.port, "/livez", out, sizeof out);
        assert_non_null(strstr(out, " 200 OK"));
    }
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    end(&p);
}

static void test_huge_headers(void **state) {
    (void)state;
    enum { HUGE_BYTES = 10 << 20 };
    page_server p = start_here(NULL, NULL);
    char *request = malloc(HUGE_BYTES + 200);
    assert_non_null(request);
    int head = sprintf(request, "GET /livez HTTP/1.1\r\nX: ");
    memset(request + head, 'a', HUGE_BYTES);
    strcpy(request + head + HUGE_BYTES, "\r\n" CLOSE);
    int fd = open_idle(p.port, NULL);
    send(fd, request, strlen(request), MSG_NOSIGNAL); /* the server does not read all of it */
    close(fd);
    strcpy(request + head + 20000, "\r\n" CLOSE);
    expect(p.port, request, "HTTP/1.1 431 ", "");
    strcpy(request + head + 4000, "\r\n" CLOSE);
    expect(p.port, request, "HTTP/1.1 200 ", "alive");
    free(request);
    end(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_requests_without_a_page),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_wrong_addresses),
        cmocka_unit_test(test_a_tick_that_does_not_end),
        cmocka_unit_test(test_etcd_is_away),
        cmocka_unit_test(test_a_standby),
        cmocka_unit_test(test_idle_connections),
        cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_slow_clients),
        cmocka_unit_test(test_slow_loris),
        cmocka_unit_test(test_huge_headers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
