/* Included by the client tests: the last error, and calls that must succeed. */
#ifndef TESTS_LIB_CLIENT_TEST_H
#define TESTS_LIB_CLIENT_TEST_H

#include "etcd/etcd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static ew_error err; /* of the program's last call */

static inline void must(int status) {
    if (status != EW_OK)
        fail_msg("%s: %s", ew_errname(status), err.detail);
}

/* A teardown: checks that gRPC has released everything that the test used. */
static inline int nothing_is_left(void **state) {
    (void)state;
    return etcd_all_released(5000) ? 0 : -1;
}

/* Opens a client. `ca_file` is "" without TLS. */
static inline ew_client *open_client_at(const char *where, const char *ca_file, int64_t call_timeout_ms) {
    ew_options *o = ew_options_new();
    ew_client *c;
    must(ew_options_set(o, "endpoints", where, &err));
    must(ew_options_set(o, "ca_file", ca_file, &err));
    must(ew_options_set_int(o, "call_timeout_ms", call_timeout_ms, &err));
    must(ew_client_open(&c, o, &err));
    ew_options_free(o);
    return c;
}

#endif
