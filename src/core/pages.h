/* Reads of a range in pages, all at the revision of the first page. The worker's load and ew_scan use them. */
#ifndef CORE_PAGES_H
#define CORE_PAGES_H

#include "core/buffer.h"
#include "etcd.pb-c.h"

/* Returns the reason why a page is invalid, or NULL if it is valid. The page was requested from the key `from` on, at
 * `revision` (0: the newest), and has a header. Its keys must rise: otherwise a reader could skip or repeat keys, or
 * never end. */
const char *pages_check(const Pb__RangeResponse *page, ew_slice from, int64_t revision);

/* Sets `next` to the first key that can follow the page's last one: that key with a zero byte appended. The page
 * must have keys. Returns false when out of memory; then `next` is unchanged. */
bool pages_next(buffer *next, const Pb__RangeResponse *page);

#endif
