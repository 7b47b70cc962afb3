/* Log-linear histograms of nanoseconds: 32 buckets for each power of two, so that no value is off by more than 3%, from
 * a nanosecond to centuries, in a fixed 15 KiB. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <jansson.h>
#include <stdbool.h>

#include <stdint.h>

#define HISTOGRAM_BUCKETS (60 * 32)

typedef struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns; /* exact */
} histogram;

void histogram_add(histogram *h, uint64_t value_ns);
void histogram_merge(histogram *into, const histogram *from);

/* The value that `percent` of all values do not exceed; 0 for an empty histogram. */
uint64_t histogram_percentile(const histogram *h, double percent);

/* As an array of [bucket, count] pairs, the empty ones left out, and back: false when it is no histogram. The exact
 * maximum travels beside it. */
json_t *histogram_to_json(const histogram *h);
bool histogram_from_json(histogram *h, const json_t *buckets, uint64_t max_ns);

#endif
