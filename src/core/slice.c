#include <etcdworker/types.h>

#include <errno.h>
#include <stdlib.h>

bool ew_slice_int(ew_slice text, int64_t *out) {
    char copy[24]; /* the longest text has 20 bytes: "-9223372036854775808" */
    const char *bytes = text.data;
    if (text.len == 0 || text.len >= sizeof copy || (bytes[0] != '-' && (bytes[0] < '0' || bytes[0] > '9')))
        return false;
    memcpy(copy, bytes, text.len);
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    long long number = strtoll(copy, &end, 10);
    if (end != copy + text.len || errno != 0)
        return false;
    *out = number;
    return true;
}
