/* Text for a terminal of any size: text is cut at the right edge, and lines that do not fit are left out, the least
 * important first. */
#ifndef SERVICE_DEMO_CANVAS_H
#define SERVICE_DEMO_CANVAS_H

#include <stdbool.h>
#include <stddef.h>

enum { CANVAS_LINES = 48 };

typedef struct canvas {
    char text[16384]; /* all lines, without separators */
    size_t len;
    struct {
        size_t end; /* in `text` */
        int rank;
    } lines[CANVAS_LINES];
    int count;
    int width, column; /* where text is cut; of the next character */
    bool color;
} canvas;

void canvas_init(canvas *c, int columns, bool color);

/* Adds an escape sequence of no width, if color is on. */
void canvas_style(canvas *c, const char *code);

/* Adds text, cut at the right edge. It must not contain control characters. */
__attribute__((format(printf, 2, 3))) void canvas_put(canvas *c, const char *format, ...);

/* Ends the line. Rank 0 is the most important. */
void canvas_end_line(canvas *c, int rank);

/* Writes at most `rows` lines to `out`, for a cursor at the first column of the first row, and the sequences that erase
 * the rest of the screen. Returns the length. The lines of the highest rank are left out first, all together; those of
 * rank 0 last, one by one from the bottom. */
size_t canvas_write(const canvas *c, int rows, char *out, size_t size);

#endif
