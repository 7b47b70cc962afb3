#include "etcd/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (16 << 20)

static int read_all(int fd, char *to, size_t size) {
    size_t have = 0;
    while (have < size) {
        ssize_t n = read(fd, to + have, size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? EIO : errno; /* the file became shorter */
        have += (size_t)n;
    }
    return 0;
}

static int open_and_read(char **out, const char *path) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int problem = fstat(fd, &info) != 0 ? errno : 0;
    if (problem == 0 && (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX_BYTES))
        problem = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    if (problem == 0) {
        *out = calloc(1, (size_t)info.st_size + 1);
        problem = *out ? read_all(fd, *out, (size_t)info.st_size) : ENOMEM;
    }
    close(fd);
    return problem;
}

int file_read(char **out, const char *option, const char *path, ew_error *err) {
    *out = NULL;
    int problem = open_and_read(out, path);
    if (problem == 0)
        return EW_OK;
    file_free(*out);
    *out = NULL;
    return ew_fail(err, problem == ENOMEM ? EW_ERR_NO_MEMORY : EW_ERR_SYSTEM, "%s %s: %s", option, path,
                   strerror(problem));
}

void file_free(char *text) {
    if (!text)
        return;
    explicit_bzero(text, strlen(text));
    free(text);
}
