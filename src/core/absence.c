#include "core/absence.h"

#include <stddef.h>

static void begin(absence *a, int64_t now_ms) {
    a->since_ms = now_ms;
    a->next_ms = now_ms + ABSENCE_GRACE_MS;
    a->said = false;
}

static void say(absence *a, const log_source *from, int64_t now_ms, const char *detail) {
    const ew_log_field fields[] = {{"for_s", NULL, (now_ms - a->since_ms) / 1000}, {"detail", detail, 0}};
    log_write(EW_LOG_WARN, from, "worker", a->said ? "etcd is still missing" : "etcd is missing", fields,
              detail ? 2 : 1);
    a->said = true;
    a->next_ms = now_ms + ABSENCE_EVERY_MS;
}

void absence_note(absence *a, const log_source *from, bool missing, int64_t now_ms, const char *detail) {
    if (missing && a->since_ms == 0)
        begin(a, now_ms);
    if (missing && now_ms >= a->next_ms)
        say(a, from, now_ms, detail);
    if (missing || a->since_ms == 0)
        return;
    if (a->said)
        log_fields(EW_LOG_INFO, from, "worker", "etcd is back", {"after_s", NULL, (now_ms - a->since_ms) / 1000});
    *a = (absence){0};
}

int64_t absence_deadline_ms(const absence *a) {
    return a->since_ms != 0 ? a->next_ms : INT64_MAX;
}
