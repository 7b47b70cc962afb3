/* Group fixtures for client tests that need certificates. */
#ifndef TESTS_LIB_CERTS_FIXTURE_H
#define TESTS_LIB_CERTS_FIXTURE_H

#include "lib/certs.h"

static certs *files;

static inline int certs_open(void **state) {
    (void)state;
    files = certs_new();
    return 0;
}

static inline int certs_close(void **state) {
    (void)state;
    certs_free(files);
    return 0;
}

#endif
