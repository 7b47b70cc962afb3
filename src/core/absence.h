/* Logs that etcd is unavailable: once when the outage begins, then every 30 s, and once when it is over. It depends on
 * the time and not on the retries. Used by one thread. */
#ifndef CORE_ABSENCE_H
#define CORE_ABSENCE_H

#include "core/log.h"

#include <stdbool.h>
#include <stdint.h>

enum { ABSENCE_GRACE_MS = 1000, ABSENCE_EVERY_MS = 30000 };

typedef struct absence {
    int64_t since_ms; /* 0: etcd is available */
    int64_t next_ms;  /* when to log next */
    bool said;
} absence;

/* Records whether etcd is unavailable now, and logs what is due. `detail` is the reason; NULL: unknown. An outage
 * shorter than ABSENCE_GRACE_MS is not logged. */
void absence_note(absence *a, const log_source *from, bool missing, int64_t now_ms, const char *detail);

/* Returns when absence_note must be called again; INT64_MAX: only when something changes. */
int64_t absence_deadline_ms(const absence *a);

#endif
