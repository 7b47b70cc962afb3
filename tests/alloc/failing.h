/* Included before each source of the library in this program: every allocation first asks whether it must fail. gRPC,
 * nng and libc allocate as usual. */
#ifndef ALLOC_FAILING_H
#define ALLOC_FAILING_H

#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <nng/nng.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* <unistd.h> is included here; its revoke(2) would clash with a function of a source that does not include it. */
#define revoke unistd_revoke
#include <microhttpd.h>
#undef revoke

/* A place in the sources that allocates. */
typedef struct failing_site {
    const char *file;
    int line;
    unsigned visits; /* in this run */
    bool known;
    struct failing_site *next; /* in the order of their first visits */
} failing_site;

/* Returns whether this allocation must fail; then also sets errno. */
bool failing_now(failing_site *site);

/* Like protobuf_c_message_unpack. If the caller passes an allocator, uses that one, which the library builds from its
 * own allocations. */
ProtobufCMessage *failing_unpack(failing_site *site, const ProtobufCMessageDescriptor *type,
                                 ProtobufCAllocator *allocator, size_t len, const uint8_t *data);

#ifdef ALLOC_FAILING
#define FAILING_SITE                                                                                                   \
    (__extension__({                                                                                                   \
        static failing_site here_ = {.file = __FILE__, .line = __LINE__};                                              \
        &here_;                                                                                                        \
    }))
#define FAILING_OR(failure, call) (failing_now(FAILING_SITE) ? (failure) : (call))

#undef strdup
#undef strndup
#define malloc(size)           FAILING_OR((void *)NULL, malloc(size))
#define calloc(count, size)    FAILING_OR((void *)NULL, calloc(count, size))
#define realloc(old, size)     FAILING_OR((void *)NULL, realloc(old, size))
#define strdup(text)           FAILING_OR((char *)NULL, strdup(text))
#define strndup(text, size)    FAILING_OR((char *)NULL, strndup(text, size))
#define asprintf(out, ...)     FAILING_OR(-1, asprintf(out, __VA_ARGS__))
#define open_memstream(out, n) FAILING_OR((FILE *)NULL, open_memstream(out, n))
#define fopen(path, mode)      FAILING_OR((FILE *)NULL, fopen(path, mode))
#define getaddrinfo(...)       FAILING_OR(EAI_MEMORY, getaddrinfo(__VA_ARGS__))
#define pthread_create(...)    FAILING_OR(EAGAIN, pthread_create(__VA_ARGS__))
#define nng_aio_alloc(...)     FAILING_OR((int)NNG_ENOMEM, nng_aio_alloc(__VA_ARGS__))
#define nng_ctx_open(...)      FAILING_OR((int)NNG_ENOMEM, nng_ctx_open(__VA_ARGS__))
#define nng_msg_alloc(...)     FAILING_OR((int)NNG_ENOMEM, nng_msg_alloc(__VA_ARGS__))
#define nng_msg_append(...)    FAILING_OR((int)NNG_ENOMEM, nng_msg_append(__VA_ARGS__))
#define nng_msg_realloc(...)   FAILING_OR((int)NNG_ENOMEM, nng_msg_realloc(__VA_ARGS__))
#define nng_listen(...)        FAILING_OR((int)NNG_ENOMEM, nng_listen(__VA_ARGS__))
#define nng_dial(...)          FAILING_OR((int)NNG_ENOMEM, nng_dial(__VA_ARGS__))
#define MHD_start_daemon(...)  FAILING_OR((struct MHD_Daemon *)NULL, MHD_start_daemon(__VA_ARGS__))
#define MHD_create_response_from_buffer(...)                                                                           \
    FAILING_OR((struct MHD_Response *)NULL, MHD_create_response_from_buffer(__VA_ARGS__))
#define MHD_add_response_header(...)                          FAILING_OR(MHD_NO, MHD_add_response_header(__VA_ARGS__))
#define MHD_queue_response(...)                               FAILING_OR(MHD_NO, MHD_queue_response(__VA_ARGS__))
#define getline(...)                                          FAILING_OR((ssize_t)-1, getline(__VA_ARGS__))
#define protobuf_c_message_unpack(type, allocator, len, data) failing_unpack(FAILING_SITE, type, allocator, len, data)
#endif

/* ---- for the scenarios ---- */

/* Resets the counts of visits. From now on the `nth` visit (from 1) of `site` fails, once. NULL: none fails. */
void failing_arm(failing_site *site, unsigned nth);

/* From now on nothing fails. Returns whether an allocation has failed since failing_arm. */
bool failing_disarm(void);

/* Excludes the allocations of this thread. */
void failing_spare(bool spare);

failing_site *failing_first(void); /* the first of all places ever visited */

#endif
