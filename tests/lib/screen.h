/* What a terminal shows of the few escape sequences that our programs use: enough to see that a picture fits. */
#ifndef TESTS_LIB_SCREEN_H
#define TESTS_LIB_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

enum { SCREEN_ROWS = 60, SCREEN_COLUMNS = 200 };

typedef struct screen {
    int rows, columns;
    int row, column; /* of the next character */
    char cells[SCREEN_ROWS][SCREEN_COLUMNS + 1];
    bool outgrown; /* it has scrolled, or a line went beyond the right edge */
    bool cursor;   /* is shown */
} screen;

void screen_init(screen *s, int rows, int columns);

/* Takes output. A sequence that is cut at the end is not taken: answers how much was. */
size_t screen_feed(screen *s, const char *text, size_t len);

/* Whether a row has the text. */
bool screen_has(const screen *s, const char *text);

#endif
