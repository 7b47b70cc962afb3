#include "service/logger.h"
#include "service/log_writer.h"

#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { STOP_MS = 1000, FORCED_MS = 100, SAY_MS = 1000 };

/* One record. It is written with one write(2), so that the lines of several threads, and of several processes that
 * share the pipe, do not mix. A part that does not fit is left out; an escape sequence is never cut. */
typedef struct line {
    char text[LOG_LINE_BYTES];
    size_t len;
    bool json;
} line;

enum { END = 3 }; /* bytes reserved for the closing quote, brace and newline */

static bool append(line *l, const char *text, size_t len) {
    if (l->len + len > sizeof l->text - END)
        return false;
    memcpy(l->text + l->len, text, len);
    l->len += len;
    return true;
}

static void append_text(line *l, const char *text) {
    append(l, text, strlen(text));
}

static bool is_utf8(const char *text) {
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

/* Both formats use JSON's escapes. A line must be UTF-8, but a key need not: then its bytes above 0x7f are escaped. */
static void append_escaped(line *l, const char *text) {
    bool utf8 = is_utf8(text);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        char escape[8];
        if (*c == '"' || *c == '\\')
            snprintf(escape, sizeof escape, "\\%c", *c);
        else if (*c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if (*c < 0x20 || *c == 0x7f || (!utf8 && *c > 0x7f))
            snprintf(escape, sizeof escape, "\\u%04x", *c);
        else
            snprintf(escape, sizeof escape, "%c", *c);
        if (!append(l, escape, strlen(escape)))
            return;
    }
}

static bool is_plain(const char *text) {
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("\"=\\", *c))
            return false;
    }
    return text[0] != '\0';
}

static void append_name(line *l, const char *name) {
    if (l->json) {
        append_text(l, l->len ? ",\"" : "{\"");
        append_text(l, name);
        append_text(l, "\":");
    } else {
        append_text(l, l->len ? " " : "");
        append_text(l, name);
        append_text(l, "=");
    }
}

static void append_field(line *l, const char *name, const char *text) {
    append_name(l, name);
    bool quote = l->json || !is_plain(text);
    append_text(l, quote ? "\"" : "");
    append_escaped(l, text);
    if (quote)
        l->text[l->len++] = '"'; /* END reserves the space */
}

static void append_number(line *l, const char *name, int64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    append_name(l, name);
    append_text(l, text);
}

static void append_time(line *l) {
    struct timespec now;
    struct tm utc;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, sizeof text - len, ".%03uZ", (unsigned)(now.tv_nsec / 1000000) % 1000);
    append_field(l, "time", text);
}

static void begin_line(line *l, ew_log_level level, const char *message) {
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    append_time(l);
    append_field(l, "level", levels[level]);
    append_field(l, "msg", message);
}

static void end_line(line *l) {
    if (l->json)
        l->text[l->len++] = '}';
    l->text[l->len++] = '\n';
}

static void write_record(void *arg, const ew_log_record *r) {
    line l = {.json = arg != NULL};
    begin_line(&l, r->level, r->message);
    if (r->worker)
        append_field(&l, "worker", r->worker);
    append_field(&l, "area", r->area);
    for (size_t i = 0; i < r->field_count && l.len < sizeof l.text - 256; i++) {
        const ew_log_field *f = &r->fields[i];
        if (f->text)
            append_field(&l, f->name, f->text);
        else
            append_number(&l, f->name, f->number);
    }
    end_line(&l);
    log_writer_put(l.text, l.len);
}

static size_t note(char out[LOG_LINE_BYTES], bool json, uint64_t count) {
    line l = {.json = json};
    begin_line(&l, EW_LOG_WARN, "log records dropped");
    append_field(&l, "area", "service");
    append_number(&l, "count", (int64_t)count);
    end_line(&l);
    memcpy(out, l.text, l.len);
    return l.len;
}

static size_t note_logfmt(char out[LOG_LINE_BYTES], uint64_t count) {
    return note(out, false, count);
}

static size_t note_json(char out[LOG_LINE_BYTES], uint64_t count) {
    return note(out, true, count);
}

int logger_start(bool json, ew_log_level level, ew_error *err) {
    static char is_json;
    int status = log_writer_start(STDERR_FILENO, json ? note_json : note_logfmt, err);
    if (status == EW_OK)
        ew_log_set(write_record, json ? &is_json : NULL, level);
    return status;
}

uint64_t logger_dropped(void) {
    return log_writer_dropped();
}

void logger_flush_before_forced_end(void) {
    log_writer_flush(FORCED_MS);
}

void logger_stop(void) {
    log_writer_stop(STOP_MS);
}

void logger_say(const char *text) {
    char out[LOG_LINE_BYTES];
    int len = snprintf(out, sizeof out, "etcdworkerd: %s\n", text);
    if (len >= (int)sizeof out) {
        len = sizeof out;
        out[len - 1] = '\n';
    }
    struct pollfd stderr_fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&stderr_fd, 1, SAY_MS) <= 0)
        return;
    ssize_t written = write(STDERR_FILENO, out, (size_t)len);
    (void)written; /* an error cannot be reported anywhere */
}
