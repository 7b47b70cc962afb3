/* The plain values that every other header uses: slices, entries, events, error values. */
#ifndef ETCDWORKER_TYPES_H
#define ETCDWORKER_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The symbols a user may call; everything else in the shared library is hidden. */
#if defined(__GNUC__)
#define EW_API __attribute__((visibility("default")))
#else
#define EW_API
#endif

/* A borrowed run of bytes. Keys and values are bytes, not C strings: they may hold a NUL and need not end in one.
 * A slice never owns what it points at; each function says how long what it hands out stays valid. */
typedef struct ew_slice {
    const void *data;
    size_t len;
} ew_slice;

/* A slice of a string literal, and of a C string. */
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

/* Reads a decimal number that fills the whole slice, as ew_value_set_int writes it: false, and `*out` unchanged, if it
 * is not one. */
EW_API bool ew_slice_int(ew_slice text, int64_t *out);

/* A key as it stands at one revision. `value` with len 0 is an empty value, which is a value: absence is reported by
 * the function's return value. The four numbers are etcd's. All of them are 0 for a put that is not committed yet
 * (a patch reads what an earlier patch or group wrote), and all but `mod_revision` in an event of kind delete. */
typedef struct ew_entry {
    ew_slice key;
    ew_slice value;
    int64_t mod_revision;    /* etcd's revision of the key's last put */
    int64_t create_revision; /* of the put that created it: what a queue is ordered by */
    int64_t version;         /* puts since then, from 1 */
    int64_t lease;           /* the lease the key is bound to; 0: none */
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

/* What the macros that fill a struct (EW_REACTOR, EW_GET_OPTIONS, ...) are made of in C++: C++17 has no designated
 * initialisers, and C++20 wants them in order. So the members are assigned, in a function that is called on the spot;
 * the capture is what that function may use of the place where it stands. At most 11 members. */
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

/* A struct whose address may be taken, until the end of the expression: &EW_GET_OPTIONS(.limit = 10). */
template <class T> constexpr const T &ew_cxx_lasting_(const T &value) noexcept {
    return value;
}
#endif
#endif
