#include "service/assign_index.h"

static size_t spell(char c, char out[3]) {
    if (c != '/' && c != '%') {
        out[0] = c;
        return 1;
    }
    memcpy(out, c == '/' ? "%2F" : "%25", 3);
    return 3;
}

size_t assign_index_write(char *out, ew_slice id) {
    const char *bytes = id.data;
    char *at = out;
    for (size_t i = 0; i < id.len; i++)
        at += spell(bytes[i], at);
    return (size_t)(at - out);
}

bool assign_index_is(ew_slice spelt, ew_slice id) {
    const char *bytes = id.data, *at = spelt.data;
    size_t left = spelt.len;
    for (size_t i = 0; i < id.len; i++) {
        char one[3];
        size_t len = spell(bytes[i], one);
        if (len > left || memcmp(at, one, len) != 0)
            return false;
        at += len;
        left -= len;
    }
    return left == 0;
}
