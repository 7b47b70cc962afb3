/* Texts that say why an endpoint cannot be used. */
#include "etcd/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_reasons_of_grpc_are_shortened(void **state) {
    (void)state;
    static const char *const table[][2] = {
        {"failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:2379: Failed to connect to remote "
         "host: "
         "Connection refused",
         "Connection refused"},
        {"connections to all backends failing; last error: UNKNOWN: unix:/a: No such file or directory",
         "No such file or directory"},
        {"failed to connect to all addresses; last error: UNAVAILABLE: ipv6:%5B::1%5D:1: Socket closed",
         "Socket closed"},
        {"failed to connect to all addresses; last error: UNKNOWN: ipv4:1.1.1.1:1: Ssl handshake failed: "
         "SSL_ERROR_SSL: "
         "error:0A000086:SSL routines::certificate verify failed",
         "error:0A000086:SSL routines::certificate verify failed"},
        {"last error: no code", "no code"},
        {"last error: ", "not connected"},
        {"last error: UNKNOWN: ipv4:", "ipv4:"},
        {"Deadline Exceeded", "no answer"},
        {"", "not connected"},
        {"something else", "something else"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_string_equal(reason_shorten(table[i][0]), table[i][1]);
}

static void test_which_reasons_are_final(void **state) {
    (void)state;
    assert_true(reason_is_final("TLS: the server speaks plain text"));
    assert_true(reason_is_final("x: Ssl handshake failed: y"));
    assert_true(reason_is_final("Peer name a is not in peer certificate"));
    assert_false(reason_is_final("Socket closed"));
    assert_false(reason_is_final("Connection refused"));
    assert_true(reason_is_unclear("x: Socket closed"));
    assert_true(reason_is_unclear("Endpoint read failed"));
    assert_false(reason_is_unclear("Connection refused"));
    assert_false(reason_is_unclear("Deadline Exceeded"));
}

static void test_a_list(void **state) {
    (void)state;
    char text[60];
    reason_list l = {.out = text, .size = sizeof text};
    reason_begin(&l, "no");
    assert_string_equal(text, "no");
    reason_add(&l, "a:1", "refused");
    reason_add(&l, NULL, "b: unknown");
    assert_string_equal(text, "no: a:1: refused; b: unknown");
    reason_add(&l, "c:1", "a reason that is a little longer");
    assert_string_equal(text, "no: a:1: refused; b: unknown; and 1 more");
    reason_add(&l, "d", "e"); /* left out, too: only the first ones are listed */
    assert_string_equal(text, "no: a:1: refused; b: unknown; and 2 more");
}

/* For any size of the buffer the text has a NUL, and nothing is written after it. */
static void test_every_size(void **state) {
    (void)state;
    for (size_t size = 1; size < 80; size++) {
        char text[100];
        memset(text, 'x', sizeof text);
        reason_list l = {.out = text, .size = size};
        reason_begin(&l, "no connection");
        for (int i = 0; i < 12; i++)
            reason_add(&l, "10.0.0.1:2379", "refused");
        assert_true(strlen(text) < size);
        assert_int_equal(text[size], 'x');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons_of_grpc_are_shortened),
        cmocka_unit_test(test_which_reasons_are_final),
        cmocka_unit_test(test_a_list),
        cmocka_unit_test(test_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
