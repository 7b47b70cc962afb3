#include "chaos/journal.h"

#include "lib/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t journal_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int journal_open(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        process_die("%s: %s", path, strerror(errno));
    return fd;
}

void journal_write(int fd, const record *r) {
    record stamped = *r;
    stamped.now_us = journal_now_us();
    if (write(fd, &stamped, sizeof stamped) != sizeof stamped)
        process_die("journal: %s", strerror(errno));
}

bool journal_read(int fd, int64_t *offset, record *out) {
    if (pread(fd, out, sizeof *out, *offset) != sizeof *out)
        return false;
    *offset += (int64_t)sizeof *out;
    return true;
}

void group_id_print(group_id id, char *out, size_t size) {
    snprintf(out, size, "%u.%u.%u", id.worker, id.run, id.number);
}

bool group_id_parse(const char *text, size_t len, group_id *out) {
    char copy[64];
    int used = 0;
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return sscanf(copy, "%u.%u.%u%n", &out->worker, &out->run, &out->number, &used) == 3 && (size_t)used == len;
}
