/* A number for an event, to recognise it when it comes again. The digest of several is their sum, since the order of
 * the events of one revision is not promised. Not against anybody who forges events. */
#ifndef CORE_EVENT_DIGEST_H
#define CORE_EVENT_DIGEST_H

#include <etcdworker/types.h>

/* mod_revision, create_revision, version, lease: of a deletion only the first is not 0. */
#define EVENT_NUMBERS 4

/* Never 0. */
uint64_t event_digest(int32_t type, ew_slice key, ew_slice value, const int64_t numbers[EVENT_NUMBERS]);

#endif
