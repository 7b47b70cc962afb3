/* A terminal screen that understands the few escape sequences of our programs: enough to check that a picture fits. */
#ifndef TESTS_LIB_SCREEN_H
#define TESTS_LIB_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

enum { SCREEN_ROWS = 60, SCREEN_COLUMNS = 200 };

typedef struct screen {
    int rows, columns;
    int row, column; /* of the next character */
    char cells[SCREEN_ROWS][SCREEN_COLUMNS + 1];
    bool outgrown; /* it has scrolled, or a line crossed the right edge */
    bool cursor;   /* is visible */
} screen;

void screen_init(screen *s, int rows, int columns);

/* Processes output. Returns the number of bytes processed: an incomplete sequence at the end is left. */
size_t screen_feed(screen *s, const char *text, size_t len);

/* Returns whether a row contains the text. */
bool screen_has(const screen *s, const char *text);

#endif
