#include "service/config_file.h"

#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct reading {
    const char *path;
    FILE *file, *problems;
    config_line_fn fn;
    void *arg;
    char *text; /* getline's buffer */
    size_t capacity;
    int line;
    bool no_memory;
    bool expects; /* the line that inih has now is not a comment: inih must call the handler for it */
    int bad;
} reading;

static void complain(reading *r, const char *what) {
    fprintf(r->problems, "%s:%d: %s\n", r->path, r->line, what);
    r->bad++;
}

/* inih skips a malformed line and returns only the number of the first one. To report all of them, a line for which
 * inih did not call the handler is reported when inih asks for the next line. */
static void settle(reading *r) {
    if (r->expects)
        complain(r, "expected `name = value`");
    r->expects = false;
}

static int handle(void *arg, const char *section, const char *name, const char *value) {
    reading *r = arg;
    (void)section;
    r->expects = false;
    if (name[0] == '\0')
        complain(r, "expected `name = value`");
    else
        r->fn(r->arg, r->line, name, value ? value : "");
    return 1;
}

/* Gives inih the next line, at most `size` bytes with the NUL. Leading blanks are removed, because inih would treat an
 * indented line as a continuation of the previous value. A malformed line is reported and replaced by an empty one. */
static char *next_line(char *out, int size, void *arg) {
    reading *r = arg;
    settle(r);
    ssize_t got = getline(&r->text, &r->capacity, r->file);
    if (got < 0) {
        r->no_memory = !feof(r->file) && !ferror(r->file); /* getline sets neither when out of memory */
        return NULL;
    }
    r->line++;
    size_t len = (size_t)got;
    while (len > 0 && (r->text[len - 1] == '\r' || r->text[len - 1] == '\n'))
        r->text[--len] = '\0';
    const char *start = r->text;
    if (r->line == 1 && strncmp(start, "\xEF\xBB\xBF", 3) == 0)
        start += 3; /* the UTF-8 byte order mark, which some editors add */
    start += strspn(start, " \t");
    out[0] = '\0';
    if (strlen(r->text) != len) {
        complain(r, "the line contains a NUL byte");
    } else if (*start == '[') {
        complain(r, "sections are not supported; expected `name = value`");
    } else if (strlen(start) + 2 > (size_t)size) {
        complain(r, "the line is too long");
    } else {
        memcpy(out, start, strlen(start) + 1);
        r->expects = *start != '\0' && !strchr(INI_START_COMMENT_PREFIXES, *start);
    }
    return out;
}

int config_file_read(const char *path, config_line_fn fn, void *arg, FILE *problems) {
    reading r = {.path = path, .problems = problems, .fn = fn, .arg = arg};
    r.file = fopen(path, "re");
    if (!r.file) {
        int why = errno;
        fprintf(problems, "%s: %s\n", path, strerror(why));
        return why == ENOMEM ? CONFIG_FILE_NO_MEMORY : -1;
    }
#ifdef HAVE_INI_MAX_LINE
    ini_max_line = 4096; /* inih's default of 200 is too short for a list of endpoints */
#endif
    errno = 0;
    int status = ini_parse_stream(next_line, &r, handle, &r);
    settle(&r);
    if (r.no_memory || status < 0) {
        fprintf(problems, "%s: out of memory\n", path);
        r.bad = CONFIG_FILE_NO_MEMORY;
    } else if (ferror(r.file)) {
        fprintf(problems, "%s: %s\n", path, strerror(errno));
        r.bad = -1;
    }
    free(r.text);
    fclose(r.file);
    return r.bad;
}
