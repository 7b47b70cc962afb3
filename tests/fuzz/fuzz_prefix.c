/* Arbitrary prefixes and keys: every key that a prefix owns is in the range that is read and watched for it, and
 * nothing after its end is. The input is a switch, the prefix up to a NUL, and the key. */
#include "core/check.h"
#include "core/prefix.h"

#include <stdlib.h>

static int order(ew_slice a, ew_slice b) {
    size_t common = a.len < b.len ? a.len : b.len;
    int bytes = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return bytes != 0 ? bytes : (a.len > b.len) - (a.len < b.len);
}

static bool is_inside(ew_slice key, ew_slice first, ew_slice last) {
    bool open = last.len == 1 && *(const char *)last.data == '\0';
    return order(key, first) >= 0 && (open || order(key, last) < 0);
}

static void check(ew_slice prefix, bool textual, ew_slice key) {
    ew_slice first, last;
    CHECK(prefix_range(prefix, textual, &first, &last));
    CHECK(first.len > 0 && last.len > 0);
    bool owned = prefix_owns(prefix, textual, key);
    CHECK(!owned || key.len == 0 || is_inside(key, first, last));
    CHECK(!textual || owned || !is_inside(key, first, last));
    CHECK(prefix_owns(prefix, textual, prefix));
    free((void *)(uintptr_t)first.data);
    free((void *)(uintptr_t)last.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    bool textual = data[0] & 1;
    char *text = malloc(size);
    CHECK(text);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    size_t len = strlen(text);
    char *normal = prefix_normalise(text);
    CHECK(normal);
    CHECK(normal[0] == '\0' || normal[0] == '/'); /* SEMANTICS 2 */
    CHECK(strlen(normal) <= len + 1);
    ew_slice key = {text + len, size - 1 - len};
    if (key.len > 0)
        key = (ew_slice){text + len + 1, key.len - 1};
    check(ew_str(normal), textual, key);
    check((ew_slice){data + 1, size - 1}, textual, key); /* not in normal form, with NULs: must not crash */
    free(normal);
    free(text);
    return 0;
}
