/* Log-linear histograms of nanoseconds: 32 buckets for each power of two, so that the error of a value is at most 3%,
 * from a nanosecond to centuries, in a fixed 15 KiB. */
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

/* Returns the value that `percent` percent of all values do not exceed; 0 for an empty histogram. */
uint64_t histogram_percentile(const histogram *h, double percent);

/* Convert to and from an array of [bucket, count] pairs, without empty buckets. histogram_from_json returns false if
 * `buckets` is not a histogram. The array does not contain the exact maximum. */
json_t *histogram_to_json(const histogram *h);
bool histogram_from_json(histogram *h, const json_t *buckets, uint64_t max_ns);

#endif
