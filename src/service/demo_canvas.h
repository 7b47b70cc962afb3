/* A picture for a terminal of any size: text is cut at the right edge, and lines that do not fit are left out, the
 * least important first. */
#ifndef SERVICE_DEMO_CANVAS_H
#define SERVICE_DEMO_CANVAS_H

#include <stdbool.h>
#include <stddef.h>

enum { CANVAS_LINES = 48 };

typedef struct canvas {
    char text[16384]; /* the lines, one after the other */
    size_t len;
    struct {
        size_t end;
        int rank;
    } lines[CANVAS_LINES];
    int count;
    int width, column; /* of the terminal; of the next character */
    bool color;
} canvas;

void canvas_init(canvas *c, int columns, bool color);

/* Adds an escape sequence that has no width, if there is to be color. */
void canvas_style(canvas *c, const char *code);

/* Adds text, which is cut at the right edge. It holds no control character. */
__attribute__((format(printf, 2, 3))) void canvas_put(canvas *c, const char *format, ...);

/* Ends the line. `rank` 0 is the most important. */
void canvas_end_line(canvas *c, int rank);

/* Writes at most `rows` lines, for a cursor at the first column of the first row, and erases what is left of the
 * screen; answers the length. The lines of the highest rank are left out first, all together; those of rank
 * 0 last, one by one from the bottom. */
size_t canvas_write(const canvas *c, int rows, char *out, size_t size);

#endif
