#include "service/demo_canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void canvas_init(canvas *c, int columns, bool color) {
    /* The last column stays empty: the sequence that erases the rest of the line would erase a character there. */
    c->len = 0;
    c->count = c->column = 0;
    c->width = columns - 1;
    c->color = color;
}

static void add(canvas *c, const char *text) {
    size_t len = strlen(text);
    if (c->len + len <= sizeof c->text) {
        memcpy(c->text + c->len, text, len);
        c->len += len;
    }
}

void canvas_style(canvas *c, const char *code) {
    if (c->color)
        add(c, code);
}

void canvas_put(canvas *c, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t space = c->width > c->column ? (size_t)(c->width - c->column) : 0;
    if (strlen(text) > space && space < sizeof text)
        text[space] = '\0';
    c->column += (int)strlen(text);
    add(c, text);
}

void canvas_end_line(canvas *c, int rank) {
    canvas_style(c, "\x1b[0m");
    c->column = 0;
    if (c->count == CANVAS_LINES) {
        c->len = c->lines[CANVAS_LINES - 1].end; /* the line is dropped */
        return;
    }
    c->lines[c->count].end = c->len;
    c->lines[c->count].rank = rank;
    c->count++;
}

/* Marks the remaining lines of the highest rank in `out`: all of them, or, if the rank is 0, the last one. Returns how
 * many lines it has marked. */
static int leave_out_worst(const canvas *c, bool out[CANVAS_LINES]) {
    int worst = -1, count = 0;
    for (int i = 0; i < c->count; i++) {
        if (!out[i] && (worst < 0 || c->lines[i].rank >= c->lines[worst].rank))
            worst = i;
    }
    for (int i = 0; i < c->count; i++) {
        if (!out[i] && (i == worst || (c->lines[i].rank == c->lines[worst].rank && c->lines[i].rank > 0))) {
            out[i] = true;
            count++;
        }
    }
    return count;
}

size_t canvas_write(const canvas *c, int rows, char *out, size_t size) {
    static const char erase_line[] = "\x1b[K", erase_below[] = "\x1b[J";
    bool left_out[CANVAS_LINES] = {false};
    size_t len = 0;
    for (int kept = c->count; kept > rows && kept > 0;)
        kept -= leave_out_worst(c, left_out);
    for (int i = 0, written = 0; i < c->count; i++) {
        size_t begin = i > 0 ? c->lines[i - 1].end : 0;
        if (left_out[i])
            continue;
        int wrote = snprintf(out + len, size - len, "%s%.*s%s", written++ > 0 ? "\r\n" : "",
                             (int)(c->lines[i].end - begin), c->text + begin, erase_line);
        if (wrote < 0 || (size_t)wrote >= size - len)
            break;
        len += (size_t)wrote;
    }
    if (sizeof erase_below <= size - len) {
        memcpy(out + len, erase_below, sizeof erase_below);
        len += sizeof erase_below - 1;
    }
    return len;
}
