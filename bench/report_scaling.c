#include "measure.h"
#include "report.h"

#include <stdio.h>

typedef struct pair {
    const char *large, *small;
} pair;

static const pair pairs[] = {{"bigstate_1M", "bigstate_1k"}, {"fanin_64", "fanin_1"}};

static json_t *compare(const json_t *large, const json_t *small) {
    static const char *const numbers[] = {"ticks_per_s", "floor_per_s", "ratio", "cpu_us_per_tick"};
    json_t *quotients = json_object();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        double of = measure_number(small, numbers[i], 0);
        if (of > 0)
            json_object_set_new(quotients, numbers[i], json_real(measure_number(large, numbers[i], 0) / of));
    }
    return quotients;
}

void report_add_scaling(json_t *report) {
    const json_t *workloads = json_object_get(report, "workloads");
    json_t *scaling = json_object();
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const json_t *large = json_object_get(workloads, pairs[i].large);
        const json_t *small = json_object_get(workloads, pairs[i].small);
        char name[64];
        snprintf(name, sizeof name, "%s / %s", pairs[i].large, pairs[i].small);
        if (large && small)
            json_object_set_new(scaling, name, compare(large, small));
    }
    json_object_set_new(report, "scaling", scaling);
}
