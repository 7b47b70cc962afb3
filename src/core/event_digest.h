/* A digest of an event, to recognise the event when it is delivered again. The digest of several events is the sum of
 * their digests, because the order of the events of one revision is not guaranteed. It does not protect against forged
 * events. */
#ifndef CORE_EVENT_DIGEST_H
#define CORE_EVENT_DIGEST_H

#include <etcdworker/types.h>

/* mod_revision, create_revision, version, lease. For a deletion all but the first are 0. */
#define EVENT_NUMBERS 4

/* Never 0. */
uint64_t event_digest(int32_t type, ew_slice key, ew_slice value, const int64_t numbers[EVENT_NUMBERS]);

#endif
