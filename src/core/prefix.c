#include "core/prefix.h"

#include <stdlib.h>

char *prefix_normalise(const char *text) {
    size_t len = strlen(text);
    bool add = text[0] != '/';
    char *out = malloc(len + 2);
    if (!out)
        return NULL;
    if (add)
        out[0] = '/';
    memcpy(out + add, text, len + 1);
    len += add;
    /* Removes only one slash: a prefix that really ends in a slash can still be written as `a//` (SEMANTICS 2). */
    if (out[len - 1] == '/')
        out[len - 1] = '\0';
    return out;
}

char *prefix_join(const char *prefix, const char *below) {
    char *out = malloc(strlen(prefix) + strlen(below) + 2);
    if (out)
        stpcpy(stpcpy(stpcpy(out, prefix), "/"), below);
    return out;
}

bool prefix_is_below(const char *below) {
    size_t len = strlen(below);
    return len > 0 && below[0] != '/' && below[len - 1] != '/';
}

size_t prefix_successor(unsigned char *bytes, size_t len) {
    while (len > 0 && bytes[len - 1] == 0xff)
        len--;
    if (len > 0)
        bytes[len - 1]++;
    return len;
}

bool prefix_range(ew_slice prefix, bool textual, ew_slice *key, ew_slice *range_end) {
    unsigned char *first = malloc(prefix.len + 1);
    unsigned char *last = malloc(prefix.len + 1);
    if (!first || !last) {
        free(first);
        free(last);
        return false;
    }
    if (prefix.len == 0) { /* etcd's notation for the whole keyspace: key NUL, end NUL */
        first[0] = last[0] = '\0';
        *key = (ew_slice){first, 1};
        *range_end = (ew_slice){last, 1};
        return true;
    }
    memcpy(first, prefix.data, prefix.len);
    memcpy(last, prefix.data, prefix.len);
    size_t last_len;
    if (textual) { /* as etcd's WithPrefix */
        last_len = prefix_successor(last, prefix.len);
        if (last_len == 0)
            last[last_len++] = '\0'; /* for etcd a single NUL means "to the end of the keyspace" */
    } else {
        last[prefix.len] = '/' + 1;
        last_len = prefix.len + 1;
    }
    *key = (ew_slice){first, prefix.len};
    *range_end = (ew_slice){last, last_len};
    return true;
}

bool prefix_owns(ew_slice prefix, bool textual, ew_slice key) {
    if (prefix.len == 0)
        return true;
    if (key.len < prefix.len || memcmp(key.data, prefix.data, prefix.len) != 0)
        return false;
    return textual || key.len == prefix.len || ((const char *)key.data)[prefix.len] == '/';
}
