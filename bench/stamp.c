#include "stamp.h"

#include <stdio.h>
#include <stdlib.h>

enum { AT_DIGITS = 19, NUMBER_DIGITS = 11 };

void stamp_write(char *value, size_t size, int64_t at_ns, int64_t number) {
    char text[64];
    snprintf(text, sizeof text, "%0*lld %0*lld ", AT_DIGITS, (long long)at_ns, NUMBER_DIGITS, (long long)number);
    memset(value, '.', size);
    memcpy(value, text, STAMP_BYTES);
}

static bool read_digits(const char *text, int count, int64_t *out) {
    uint64_t number = 0; /* at most 19 digits */
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *out = (int64_t)number;
    return number <= INT64_MAX;
}

/* Does not use sscanf: this runs for every measured event, and sscanf took a tenth of the measured time. */
bool stamp_read(ew_slice value, int64_t *at_ns, int64_t *number) {
    const char *text = value.data;
    return value.len >= STAMP_BYTES && read_digits(text, AT_DIGITS, at_ns) && text[AT_DIGITS] == ' ' &&
           read_digits(text + AT_DIGITS + 1, NUMBER_DIGITS, number);
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
