/* The basic types that all other headers use: slices, entries, events. */
#ifndef ETCDWORKER_TYPES_H
#define ETCDWORKER_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* STRUCTS. A struct that may get more members in a later version begins with `size`. The code that makes the struct
 * sets `size` to its sizeof, so that a program and a library of different versions work together. A function that gets
 * such a struct without its `size` returns EW_ERR_INVALID. A struct that the library returns by pointer may get more
 * members at its end. All other structs keep their members. */

/* Marks the functions that a user may call; all other symbols of the shared library are hidden. */
#if defined(__GNUC__)
#define EW_API __attribute__((visibility("default")))
#else
#define EW_API
#endif

/* A borrowed range of bytes. Keys and values are bytes, not C strings: they may contain NUL and need not end in one. A
 * slice never owns its bytes; each function that returns slices says how long they stay valid. */
typedef struct ew_slice {
    const void *data;
    size_t len;
} ew_slice;

/* EW_STR makes a slice of a string literal, ew_str of a C string (NULL: an empty slice). */
#ifdef __cplusplus
#define EW_STR(literal) (ew_slice{"" literal, sizeof(literal) - 1})
#else
#define EW_STR(literal) ((ew_slice){"" literal, sizeof(literal) - 1})
#endif
static inline ew_slice ew_str(const char *text) {
    ew_slice s = {text, text ? strlen(text) : 0};
    return s;
}
static inline bool ew_slice_equal(ew_slice a, ew_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Parses a decimal number that fills the whole slice, as ew_value_set_int writes it. Returns false and leaves `*out`
 * unchanged if it is not one. Any thread. */
EW_API bool ew_slice_int(ew_slice text, int64_t *out);

/* A key at one revision. A `value` with len 0 means that the value is empty, not that the key is absent: absence is
 * reported by the function's return value. The four numbers are etcd's. All of them are 0 for a put that is not
 * committed yet (when a patch reads what an earlier patch or group wrote). In a delete event all but `mod_revision` are
 * 0. */
typedef struct ew_entry {
    ew_slice key;
    ew_slice value;
    int64_t mod_revision;    /* revision of the key's last put */
    int64_t create_revision; /* revision of the put that created it; gives, for example, the order of a queue */
    int64_t version;         /* number of puts since it was created, from 1 */
    int64_t lease;           /* the lease that the key is attached to; 0: none */
} ew_entry;

/* One change of one key, as etcd recorded it. */
typedef enum ew_event_kind {
    EW_EVENT_PUT = 1,
    EW_EVENT_DELETE = 2, /* `value` is empty; `mod_revision` is the revision of the deletion */
} ew_event_kind;

typedef struct ew_event {
    ew_event_kind kind;
    bool initial; /* part of the first snapshot, not a change */
    ew_entry entry;
} ew_event;

#ifdef __cplusplus
}

/* Implement the macros that fill a struct (EW_REACTOR, EW_GET_OPTIONS, ...) in C++: C++17 has no designated
 * initialisers, and C++20 requires them in order. So a lambda, called at once, assigns the members; `capture` is its
 * capture list. At most 11 members. */
#define EW_CXX_FILLED_(type, capture, ...)                                                                             \
    (capture {                                                                                                         \
        type ew_cxx_it{};                                                                                              \
        ew_cxx_it.size = sizeof ew_cxx_it;                                                                             \
        EW_CXX_SET_(__VA_ARGS__, , , , , , , , , , , )                                                                 \
        return ew_cxx_it;                                                                                              \
    }())
#define EW_CXX_SET_(a, b, c, d, e, f, g, h, i, j, k, ...)                                                              \
    EW_CXX_SET_ONE_(a)                                                                                                 \
    EW_CXX_SET_ONE_(b)                                                                                                 \
    EW_CXX_SET_ONE_(c)                                                                                                 \
    EW_CXX_SET_ONE_(d)                                                                                                 \
    EW_CXX_SET_ONE_(e)                                                                                                 \
    EW_CXX_SET_ONE_(f) EW_CXX_SET_ONE_(g) EW_CXX_SET_ONE_(h) EW_CXX_SET_ONE_(i) EW_CXX_SET_ONE_(j) EW_CXX_SET_ONE_(k)
#define EW_CXX_SET_ONE_(assignment) (void)(ew_cxx_it assignment);

/* Makes the address of a temporary available until the end of the full expression: &EW_GET_OPTIONS(.limit = 10). */
template <class T> constexpr const T &ew_cxx_lasting_(const T &value) noexcept {
    return value;
}
#endif
#endif
