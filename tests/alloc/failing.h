/* Stands before each source of the library in this program: whatever allocates asks first whether it is to fail.
 * gRPC, nng and libc allocate as ever. */
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

/* It includes <unistd.h>, whose revoke(2) would clash with a function of a source that does not. */
#define revoke unistd_revoke
#include <microhttpd.h>
#undef revoke

/* A place in the sources that allocates. */
typedef struct failing_site {
    const char *file;
    int line;
    unsigned visits; /* in this run */
    bool known;
    struct failing_site *next; /* the order in which they were first seen */
} failing_site;

/* Whether this allocation fails; it then sets errno. */
bool failing_now(failing_site *site);

/* As protobuf_c_message_unpack; with an allocator of the caller's that one, which is built of the library's own
 * allocations. */
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

/* ---- for the tests ---- */

/* Counts visits anew. From now on the `nth` visit, from 1, of `site` fails, once; NULL: none. */
void failing_arm(failing_site *site, unsigned nth);

/* Nothing fails from now on. Whether something did since failing_arm. */
bool failing_disarm(void);

/* Allocations of this thread are left out. */
void failing_spare(bool spare);

failing_site *failing_first(void); /* of all that were ever seen */

#endif
