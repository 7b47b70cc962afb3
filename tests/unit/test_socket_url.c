/* Which URLs a socket may have, and how others are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/log_limit.h"
#include "core/socket_url.h"

static void good(const char *url, unsigned allowed, socket_scheme expected) {
    socket_scheme scheme = 0;
    ew_error err = {0};
    if (socket_url_check("submit_url", url, allowed, &scheme, &err) != EW_OK)
        fail_msg("%s: %s", url, err.detail);
    assert_int_equal(scheme, expected);
}

/* Checks that the error names the option, the URL and `reason`. */
static void bad(const char *url, unsigned allowed, const char *reason) {
    socket_scheme scheme;
    ew_error err = {0};
    assert_int_equal(socket_url_check("submit_url", url, allowed, &scheme, &err), EW_ERR_INVALID);
    assert_memory_equal(err.detail, "submit_url = \"", 14);
    if (!strstr(err.detail, reason) || !strstr(err.detail, url))
        fail_msg("%s: \"%s\" does not say \"%s\"", url, err.detail, reason);
    assert_true(strlen(err.detail) < sizeof err.detail - 1); /* not cut off */
}

static void allowed_transports(void **state) {
    (void)state;
    good("inproc://a/b", SOCKET_OUTWARD, SOCKET_INPROC);
    good("ipc:///run/app/socket", SOCKET_OUTWARD, SOCKET_IPC);
    good("ipc:///socket", SOCKET_MAILBOX, SOCKET_IPC);
    good("tls+tcp://10.1.2.3:5555", SOCKET_OUTWARD, SOCKET_TLS);
    good("tls+tcp://*:0", SOCKET_OUTWARD, SOCKET_TLS);
    good("tls+tcp://host.example:65535", SOCKET_OUTWARD, SOCKET_TLS);
    good("tls+tcp://[::]:1", SOCKET_OUTWARD, SOCKET_TLS);
    good("tcp://127.0.0.1:5555", SOCKET_OUTWARD, SOCKET_TCP);
    good("tcp://127.255.0.9:0", SOCKET_OUTWARD, SOCKET_TCP);
    good("tcp://[::1]:5555", SOCKET_OUTWARD, SOCKET_TCP);
    good("ws://127.0.0.1:80", SOCKET_OUTWARD, SOCKET_WS);
    good("ws://[::1]:80/some/path", SOCKET_OUTWARD, SOCKET_WS);
}

static void only_loopback_without_tls(void **state) {
    (void)state;
    static const char *const hosts[] = {
        "0.0.0.0",    "10.0.0.1",  "128.0.0.1",          "126.255.255.255", "*",
        "localhost",  "127.1",     "127.0.0.1.evil.org", "0x7f.0.0.1",      "",
        "[::]",       "[fe80::1]", "[::ffff:127.0.0.1]", "[::1%lo]",        "[127.0.0.1]",
        "127.0.0.1 ", "0177.0.0.1"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        char url[80] = "tcp://";
        strcat(strcat(url, hosts[i]), ":5555");
        bad(url, SOCKET_OUTWARD, "loopback");
        strcpy(url, "ws://");
        strcat(strcat(url, hosts[i]), ":5555/x");
        bad(url, SOCKET_OUTWARD, "loopback");
    }
}

static void other_transports(void **state) {
    (void)state;
    bad("abstract://app", SOCKET_OUTWARD, "no file mode");
    bad("abstract://app", SOCKET_MAILBOX, "use ipc://");
    bad("abstract://app", SOCKET_INPROC, "must begin with inproc://");
    bad("wss://127.0.0.1:1", SOCKET_OUTWARD, "unknown transport");
    bad("tls+tcp4://127.0.0.1:1", SOCKET_OUTWARD, "unknown transport");
    bad("zt://x:1", SOCKET_OUTWARD, "unknown transport");
    bad("unix:///run/socket", SOCKET_OUTWARD, "unknown transport");
    bad("TCP://127.0.0.1:1", SOCKET_OUTWARD, "unknown transport");
    bad("nonsense", SOCKET_OUTWARD, "an nng URL is needed");
    bad("", SOCKET_OUTWARD, "an nng URL is needed");
    bad("ipc:///run/x", SOCKET_INPROC, "must begin with inproc://");
    bad("tcp://127.0.0.1:1", SOCKET_INPROC, "submit_url and ticks_url");
    bad("tcp://127.0.0.1:1", SOCKET_MAILBOX, "can write to etcd");
    bad("tls+tcp://127.0.0.1:1", SOCKET_MAILBOX, "inproc:// or ipc://");
}

static void malformed_urls(void **state) {
    (void)state;
    static const char *const addresses[] = {"tcp://127.0.0.1",       "tcp://127.0.0.1:",     "tcp://127.0.0.1:x",
                                            "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1",   "tcp://127.0.0.1:000001",
                                            "tcp://127.0.0.1:1x",    "tcp://[::1]",          "tcp://[::1:5",
                                            "tcp://::1:5",           "tcp://user@127.0.0.1", "tcp://127.0.0.1:+1",
                                            "tls+tcp://host",        "ws://127.0.0.1/path",  "ws://127.0.0.1:1?q"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        bad(addresses[i], SOCKET_OUTWARD, "a host and a port");
    bad("inproc://", SOCKET_OUTWARD, "after the transport is missing");
    bad("tcp://", SOCKET_OUTWARD, "after the transport is missing");
    bad("tcp://127.0.0.1:1/", SOCKET_OUTWARD, "no text is allowed after the port");
    bad("tls+tcp://h:1/x", SOCKET_OUTWARD, "no text is allowed after the port");
    bad("tls+tcp://:1", SOCKET_OUTWARD, "a host is needed");
    bad("ipc://run/x", SOCKET_OUTWARD, "absolute path");
    bad("ipc:///run/", SOCKET_OUTWARD, "absolute path");
    bad("ipc://./x", SOCKET_OUTWARD, "absolute path");
}

static void a_path_fits_a_socket_address(void **state) {
    (void)state;
    char url[128] = "ipc:///";
    memset(url + 7, 'x', 106);
    good(url, SOCKET_OUTWARD, SOCKET_IPC); /* 107 bytes and a NUL */
    url[7 + 106] = 'x';
    socket_scheme scheme;
    ew_error err = {0};
    assert_int_equal(socket_url_check("ticks_url", url, SOCKET_OUTWARD, &scheme, &err), EW_ERR_INVALID);
    assert_non_null(strstr(err.detail, "too long"));
}

static void a_host_may_be_of_any_length(void **state) {
    (void)state;
    char url[400] = "tls+tcp://";
    memset(url + 10, 'h', 300);
    strcpy(url + 310, ":1");
    socket_scheme scheme;
    assert_int_equal(socket_url_check("submit_url", url, SOCKET_OUTWARD, &scheme, NULL), EW_ERR_INVALID);
}

static void with_port_is(const char *url, const char *expected) {
    char out[64];
    assert_true(socket_url_with_port(url, 4711, out, sizeof out));
    assert_string_equal(out, expected);
}

static void a_chosen_port_takes_the_place_of_0(void **state) {
    (void)state;
    with_port_is("tcp://127.0.0.1:0", "tcp://127.0.0.1:4711");
    with_port_is("ws://[::1]:0/a:b", "ws://[::1]:4711/a:b");
    with_port_is("tls+tcp://*:00", "tls+tcp://*:4711");
    char small[8];
    assert_false(socket_url_with_port("tcp://127.0.0.1:0", 4711, small, sizeof small));
    assert_string_equal(socket_url_path("ipc:///a/b"), "/a/b");
}

static void a_log_is_limited(void **state) {
    (void)state;
    log_limit l = {0};
    uint64_t left_out = 9;
    int64_t now = 5000;
    for (int i = 0; i < LOG_LIMIT_RECORDS; i++) {
        assert_true(log_limit_passes(&l, now + i, &left_out));
        assert_int_equal(left_out, 0);
    }
    for (int i = 0; i < 1000; i++)
        assert_false(log_limit_passes(&l, now + LOG_LIMIT_WINDOW_MS - 1, &left_out));
    assert_true(log_limit_passes(&l, now + LOG_LIMIT_WINDOW_MS, &left_out));
    assert_int_equal(left_out, 1000);
    assert_true(log_limit_passes(&l, now + LOG_LIMIT_WINDOW_MS, &left_out));
    assert_int_equal(left_out, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allowed_transports),
        cmocka_unit_test(only_loopback_without_tls),
        cmocka_unit_test(other_transports),
        cmocka_unit_test(malformed_urls),
        cmocka_unit_test(a_path_fits_a_socket_address),
        cmocka_unit_test(a_host_may_be_of_any_length),
        cmocka_unit_test(a_chosen_port_takes_the_place_of_0),
        cmocka_unit_test(a_log_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
