#include "core/group_scope.h"

#include "core/prefix.h"

bool group_scope_owns(const group_scope *scope, ew_slice key) {
    return prefix_owns(scope->prefix, scope->textual, key) && !ew_slice_equal(key, scope->counter_key) &&
           !(scope->receipt_prefix.len > 0 && prefix_owns(scope->receipt_prefix, false, key));
}

const char *group_key_text(ew_slice key, char *out, size_t size) {
    size_t len = key.len < size ? key.len : size - 1;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = ((const unsigned char *)key.data)[i];
        out[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    if (len < key.len && size > 3)
        memset(out + size - 4, '.', 3);
    out[len] = '\0';
    return out;
}
