#include "core/backoff.h"

#include "core/random.h"

int64_t backoff_ms(int64_t min_ms, int64_t max_ms, unsigned failures, uint64_t *random) {
    int64_t most = min_ms > 0 || max_ms <= 0 ? min_ms : 1;
    while (failures-- > 0 && most < max_ms)
        most = most > max_ms / 2 ? max_ms : 2 * most;
    if (max_ms > 0 && most > max_ms)
        most = max_ms;
    return random_between(random, most - most / 2, most);
}
