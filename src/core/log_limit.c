#include "core/log_limit.h"

bool log_limit_passes(log_limit *l, int64_t now_ms, uint64_t *left_out) {
    if (now_ms >= l->until_ms) {
        l->until_ms = now_ms + LOG_LIMIT_WINDOW_MS;
        l->written = 0;
    }
    if (l->written >= LOG_LIMIT_RECORDS) {
        l->left_out++;
        return false;
    }
    l->written++;
    *left_out = l->left_out;
    l->left_out = 0;
    return true;
}
