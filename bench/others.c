#include "others.h"

#include "usage.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct process {
    int pid, parent;
    int64_t ticks; /* its own CPU time and that of its ended children */
    bool ours;
} process;

typedef struct table {
    process *list;
    size_t count, capacity;
} table;

static int64_t ticks_ns(int64_t ticks) {
    return ticks * (1000000000 / sysconf(_SC_CLK_TCK));
}

/* See proc(5): the name is in parentheses and may contain any byte, so the fields begin after the last ')'. */
static bool read_process(int pid, process *out) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    bool any = f && fgets(line, sizeof line, f);
    if (f)
        fclose(f);
    const char *end = any ? strrchr(line, ')') : NULL;
    long user, system, children_user, children_system;
    *out = (process){.pid = pid};
    if (!end || sscanf(end + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %ld %ld", &out->parent, &user,
                       &system, &children_user, &children_system) != 5)
        return false;
    out->ticks = user + system + children_user + children_system;
    return true;
}

static bool append(table *t, const process *p) {
    if (t->count == t->capacity) {
        size_t capacity = t->capacity > 0 ? 2 * t->capacity : 256;
        process *list = realloc(t->list, capacity * sizeof *list);
        if (!list)
            return false;
        t->list = list;
        t->capacity = capacity;
    }
    t->list[t->count++] = *p;
    return true;
}

static bool read_all(table *t) {
    DIR *dir = opendir("/proc");
    bool ok = dir != NULL;
    const struct dirent *entry;
    while (ok && (entry = readdir(dir))) {
        process p;
        if (isdigit((unsigned char)entry->d_name[0]) && read_process(atoi(entry->d_name), &p))
            ok = append(t, &p);
    }
    if (dir)
        closedir(dir);
    return ok;
}

static bool is_ours(const table *t, const process *p) {
    if (p->pid == getpid())
        return true;
    for (size_t i = 0; i < t->count; i++)
        if (t->list[i].pid == p->parent)
            return t->list[i].ours;
    return false;
}

/* Returns the ticks of this process and its descendants. A parent may come after its child in the table, so the table
 * is walked until nothing changes. */
static int64_t our_ticks(table *t) {
    int64_t ticks = 0;
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < t->count; i++) {
            process *p = &t->list[i];
            if (p->ours || !is_ours(t, p))
                continue;
            p->ours = changed = true;
            ticks += p->ticks;
        }
    }
    return ticks;
}

/* Returns the user, nice, system and stolen time of all CPUs; -1 if /proc does not have it. */
static int64_t busy_ticks(void) {
    long long user, nice, system, stolen;
    FILE *f = fopen("/proc/stat", "re");
    bool ok = f && fscanf(f, "cpu %lld %lld %lld %*d %*d %*d %*d %lld", &user, &nice, &system, &stolen) == 4;
    if (f)
        fclose(f);
    return ok ? user + nice + system + stolen : -1;
}

others others_now(void) {
    table t = {0};
    int64_t busy = busy_ticks();
    others now = {.at_ns = now_ns(), .cpu_ns = -1};
    if (busy >= 0 && read_all(&t))
        now.cpu_ns = ticks_ns(busy - our_ticks(&t));
    free(t.list);
    return now;
}

double others_cpus(const others *from, const others *to) {
    if (from->cpu_ns < 0 || to->cpu_ns <= from->cpu_ns || to->at_ns <= from->at_ns)
        return 0;
    return (double)(to->cpu_ns - from->cpu_ns) / (double)(to->at_ns - from->at_ns);
}
