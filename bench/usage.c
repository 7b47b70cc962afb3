#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t timeval_ns(struct timeval t) {
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_usec * 1000;
}

usage usage_now(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (usage){
        .at_ns = now_ns(),
        .cpu_ns = timeval_ns(r.ru_utime) + timeval_ns(r.ru_stime),
        .switches = r.ru_nvcsw + r.ru_nivcsw,
    };
}

/* Returns a number of /proc/self/status; -1 if it is missing. */
static int64_t status_field(const char *name) {
    FILE *f = fopen("/proc/self/status", "re");
    if (!f)
        return -1;
    char line[256];
    int64_t value = -1;
    size_t len = strlen(name);
    while (value < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            value = strtoll(line + len + 1, NULL, 10);
    fclose(f);
    return value;
}

/* Does not use ru_maxrss of getrusage, because it starts with the memory of the process that started this one. */
int64_t usage_peak_kb(void) {
    return status_field("VmHWM");
}

int64_t usage_threads(void) {
    return status_field("Threads");
}

void usage_report(json_t *result, const usage *from, const usage *to, int64_t count) {
    json_object_set_new(result, "count", json_integer(count));
    json_object_set_new(result, "seconds", json_real((double)(to->at_ns - from->at_ns) / 1e9));
    json_object_set_new(result, "cpu_us", json_real((double)(to->cpu_ns - from->cpu_ns) / 1e3));
    json_object_set_new(result, "switches", json_integer(to->switches - from->switches));
    json_object_set_new(result, "max_rss_kb", json_integer(usage_peak_kb()));
    json_object_set_new(result, "threads", json_integer(usage_threads()));
}
