#include "stamp.h"

#include <stdio.h>
#include <stdlib.h>

void stamp_write(char *value, size_t size, int64_t at_ns, int64_t number) {
    char text[64];
    snprintf(text, sizeof text, "%019lld %011lld ", (long long)at_ns, (long long)number);
    memset(value, '.', size);
    memcpy(value, text, STAMP_BYTES);
}

bool stamp_read(ew_slice value, int64_t *at_ns, int64_t *number) {
    if (value.len < STAMP_BYTES)
        return false;
    char text[STAMP_BYTES + 1] = "";
    memcpy(text, value.data, STAMP_BYTES);
    long long at, n;
    if (sscanf(text, "%lld %lld", &at, &n) != 2)
        return false;
    *at_ns = at;
    *number = n;
    return true;
}

bool stamp_set_init(stamp_set *s, int64_t count) {
    *s = (stamp_set){.count = count, .bits = calloc((size_t)count / 8 + 1, 1)};
    return s->bits != NULL;
}

void stamp_set_fini(stamp_set *s) {
    free(s->bits);
}

bool stamp_set_add(stamp_set *s, int64_t number) {
    if (number < 0 || number >= s->count)
        return false;
    unsigned char *byte = &s->bits[number / 8], bit = (unsigned char)(1u << (number % 8));
    if (*byte & bit)
        return false;
    *byte |= bit;
    s->seen++;
    return true;
}
