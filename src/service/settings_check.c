#include "service/settings_check.h"
#include "core/prefix.h"
#include "service/assign_change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files ---- */

/* Returns the errno with which the file cannot be read, or 0. Does not block on a FIFO. */
static int problem_with(const char *path) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno;
    int problem = fstat(fd, &info) != 0 ? errno : S_ISDIR(info.st_mode) ? EISDIR : 0;
    close(fd);
    return problem;
}

int settings_check_files(const ew_options *o, ew_error *err) {
    static const char *const files[] = {"ca_file",          "cert_file",       "key_file",      "password_file",
                                        "listen_cert_file", "listen_key_file", "listen_ca_file"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = ew_options_text(o, files[i]);
        int problem = path[0] != '\0' ? problem_with(path) : 0;
        if (problem != 0)
            return ew_fail(err, problem == ENOMEM ? EW_ERR_NO_MEMORY : EW_ERR_INVALID, "%s %.160s: %s", files[i], path,
                           strerror(problem));
    }
    return EW_OK;
}

/* ---- the private etcd ---- */

static int check_dev(const settings *s, ew_error *err) {
    const ew_options *o = s->options;
    bool dev = ew_options_int(o, "dev") != 0;
    if (ew_options_int(o, "demo") && !dev)
        return ew_fail(err, EW_ERR_INVALID, "option demo: requires option dev, because it writes sample keys to etcd");
    if (ew_options_text(o, "dev_data")[0] != '\0' && !dev)
        return ew_fail(err, EW_ERR_INVALID, "option dev_data: requires option dev, whose etcd keeps its data there");
    if (dev && settings_source_of(s, "endpoints") != SOURCE_DEFAULT)
        return ew_fail(err, EW_ERR_INVALID,
                       "option endpoints: %.120s conflicts with option dev, which starts a private etcd; remove one of "
                       "the two",
                       ew_options_text(o, "endpoints"));
    return EW_OK;
}

/* ---- the election's name ---- */

/* Returns whether `path` is `folder` or lies below it. */
static bool is_in(const char *path, const char *folder) {
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* The same for a folder that ends in a slash. */
static bool is_in_folder(const char *path, const char *folder) {
    size_t len = strlen(folder) - 1;
    return strncmp(path, folder, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static int refuse_name(const char *name, const char *what, const char *keys, ew_error *err) {
    return ew_fail(
        err, EW_ERR_INVALID,
        "option elect: candidates of '%.60s' would mix with %s '%.60s'; choose a name outside the prefix, such as "
        "/elections/app",
        name, what, keys);
}

/* Each key below the name counts as a candidate, and a candidate waits for all older ones, so no other keys may be
 * there. (A name inside the prefix is allowed: reactors then see the candidates.) */
static int check_name(const ew_options *o, const char *name, const char *prefix, ew_error *err) {
    static const char *const folders[] = {ASSIGN_MEMBERS, ASSIGN_TASKS, ASSIGN_ASSIGNMENTS, ASSIGN_BY_MEMBER};
    const char *receipts = ew_options_text(o, "receipt_prefix");
    if (prefix[0] != '\0' && is_in(prefix, name))
        return refuse_name(name, "the keys of the prefix", prefix, err);
    if (is_in(receipts, name))
        return refuse_name(name, "the receipts below", receipts, err);
    if (strcmp(ew_options_text(o, "reactor"), "assign") != 0)
        return EW_OK;
    size_t len = strlen(prefix);
    for (size_t i = 0; strncmp(name, prefix, len) == 0 && i < sizeof folders / sizeof folders[0]; i++) {
        if (is_in_folder(name + len, folders[i]))
            return refuse_name(name, "the keys of assign below", folders[i], err);
    }
    return EW_OK;
}

static int check_elect(const ew_options *o, ew_error *err) {
    const char *name = ew_options_text(o, "elect");
    if (name[0] == '\0')
        return EW_OK;
    char *prefix = prefix_normalise(ew_options_text(o, "prefix"));
    int status = prefix ? check_name(o, name, prefix, err) : ew_fail(err, EW_ERR_NO_MEMORY, "out of memory");
    free(prefix);
    return status;
}

int settings_check(const settings *s, ew_error *err) {
    int status = check_dev(s, err);
    return status == EW_OK ? check_elect(s->options, err) : status;
}
