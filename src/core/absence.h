/* Saying that etcd is missing: once when it begins, then every 30 s, and once when it is over, by the clock and not by
 * the retry. One thread. */
#ifndef CORE_ABSENCE_H
#define CORE_ABSENCE_H

#include <stdbool.h>
#include <stdint.h>

enum { ABSENCE_GRACE_MS = 1000, ABSENCE_EVERY_MS = 30000 };

typedef struct absence {
    int64_t since_ms; /* 0: etcd is there */
    int64_t next_ms;  /* when to say so */
    bool said;
} absence;

/* Takes in whether etcd is missing now, and logs what is due. `detail` says why; NULL: unknown. An absence shorter than
 * ABSENCE_GRACE_MS is not mentioned. */
void absence_note(absence *a, const char *worker, bool missing, int64_t now_ms, const char *detail);

/* When absence_note is to be called again; INT64_MAX: when something changes. */
int64_t absence_deadline_ms(const absence *a);

#endif
