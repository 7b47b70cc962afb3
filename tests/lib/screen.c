#include "lib/screen.h"

#include <string.h>

static void erase(screen *s, int row, int column) {
    memset(s->cells[row] + column, ' ', (size_t)(s->columns - column));
}

void screen_init(screen *s, int rows, int columns) {
    memset(s, 0, sizeof *s);
    s->rows = rows;
    s->columns = columns;
    s->cursor = true;
    for (int row = 0; row < rows; row++)
        erase(s, row, 0);
}

static void erase_below(screen *s, int row, int column) {
    erase(s, row, column < s->columns ? column : s->columns - 1);
    while (++row < s->rows)
        erase(s, row, 0);
}

static void new_line(screen *s) {
    if (s->row + 1 < s->rows) {
        s->row++;
        return;
    }
    s->outgrown = true;
    memmove(s->cells, s->cells + 1, (size_t)(s->rows - 1) * sizeof s->cells[0]);
    erase(s, s->rows - 1, 0);
}

static void print(screen *s, char c) {
    if (s->column == s->columns) {
        s->outgrown = true;
        s->column = 0;
        new_line(s);
    }
    s->cells[s->row][s->column++] = c;
}

/* Returns the length of the escape sequence at `text`; 0 if it is incomplete. */
static size_t sequence(screen *s, const char *text, size_t len) {
    size_t at = 2;
    while (at < len && strchr("?;0123456789", text[at]))
        at++;
    if (at >= len)
        return 0;
    switch (text[at]) {
    case 'H':
        s->row = s->column = 0;
        break;
    case 'J':
        if (text[2] == '2')
            erase_below(s, 0, 0);
        else
            erase_below(s, s->row, s->column);
        break;
    case 'K': /* on a full line the cursor stays on the last character */
        erase(s, s->row, s->column < s->columns ? s->column : s->columns - 1);
        break;
    case 'h':
    case 'l':
        s->cursor = text[at] == 'h';
        break;
    default: /* a colour */
        break;
    }
    return at + 1;
}

size_t screen_feed(screen *s, const char *text, size_t len) {
    size_t at = 0;
    while (at < len) {
        if (text[at] == '\x1b') {
            size_t taken = sequence(s, text + at, len - at);
            if (taken == 0)
                break;
            at += taken;
            continue;
        }
        if (text[at] == '\r')
            s->column = 0;
        else if (text[at] == '\n')
            new_line(s);
        else
            print(s, text[at]);
        at++;
    }
    return at;
}

bool screen_has(const screen *s, const char *text) {
    for (int row = 0; row < s->rows; row++) {
        if (strstr(s->cells[row], text))
            return true;
    }
    return false;
}
