#include "histogram.h"

enum { SUB_BITS = 5, SUBS = 1 << SUB_BITS };

/* Values below 32 have one bucket each. For larger values, the highest bit and the five bits after it select the
 * bucket. */
static size_t bucket_of(uint64_t value) {
    if (value < SUBS)
        return (size_t)value;
    int shift = 63 - __builtin_clzll(value) - SUB_BITS;
    size_t bucket = (size_t)(shift + 1) * SUBS + (size_t)(value >> shift) - SUBS;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t middle_of(size_t bucket) {
    if (bucket < SUBS)
        return bucket;
    int shift = (int)(bucket / SUBS) - 1;
    uint64_t low = ((uint64_t)(bucket % SUBS) + SUBS) << shift;
    return low + ((1ull << shift) >> 1);
}

void histogram_add(histogram *h, uint64_t value_ns) {
    h->counts[bucket_of(value_ns)]++;
    h->total++;
    if (value_ns > h->max_ns)
        h->max_ns = value_ns;
}

void histogram_merge(histogram *into, const histogram *from) {
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

uint64_t histogram_percentile(const histogram *h, double percent) {
    if (h->total == 0)
        return 0;
    double wanted = percent / 100 * (double)h->total;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t value = middle_of(i);
            return value < h->max_ns ? value : h->max_ns;
        }
    }
    return h->max_ns;
}

json_t *histogram_to_json(const histogram *h) {
    json_t *buckets = json_array();
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (h->counts[i] > 0)
            json_array_append_new(buckets, json_pack("[I, I]", (json_int_t)i, (json_int_t)h->counts[i]));
    return buckets;
}

bool histogram_from_json(histogram *h, const json_t *buckets, uint64_t max_ns) {
    *h = (histogram){.max_ns = max_ns};
    size_t i;
    json_t *pair;
    json_array_foreach(buckets, i, pair) {
        json_int_t bucket, count;
        if (json_unpack(pair, "[I, I]", &bucket, &count) != 0 || bucket < 0 || bucket >= HISTOGRAM_BUCKETS || count < 0)
            return false;
        h->counts[bucket] += (uint64_t)count;
        h->total += (uint64_t)count;
    }
    return json_is_array(buckets);
}
