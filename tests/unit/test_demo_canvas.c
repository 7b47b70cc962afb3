/* The demo's picture fits every terminal, and its most important lines stay. */
#include "lib/screen.h"
#include "service/demo_canvas.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static screen shown;

static void line(canvas *c, int rank, const char *text) {
    canvas_style(c, "\x1b[1m");
    canvas_put(c, "%s", text);
    canvas_end_line(c, rank);
}

static void draw(canvas *c, int rows, int columns, bool color) {
    char out[1024];
    canvas_init(c, columns, color);
    line(c, 0, "head");
    line(c, 9, "");
    line(c, 2, "why 1");
    line(c, 2, "why 2");
    line(c, 1, "news");
    line(c, 9, "");
    line(c, 0, "a rather long foot");
    screen_init(&shown, rows, columns);
    size_t len = canvas_write(c, rows, out, sizeof out);
    assert_int_equal(screen_feed(&shown, out, len), len);
}

static void test_every_size(void **state) {
    (void)state;
    canvas c;
    for (int rows = 1; rows <= 12; rows++) {
        for (int columns = 1; columns <= 30; columns++) {
            draw(&c, rows, columns, rows % 2);
            assert_false(shown.outgrown);
            assert_int_equal(screen_has(&shown, "head"), columns > 4);
            assert_int_equal(screen_has(&shown, "a rather long foot"), rows >= 2 && columns > 18);
            assert_int_equal(screen_has(&shown, "news"), rows >= 3 && columns > 4);
            assert_int_equal(screen_has(&shown, "why 1"), rows >= 5 && columns > 5);
            assert_int_equal(screen_has(&shown, "why 2"), rows >= 5 && columns > 5);
        }
    }
}

/* The rest of an earlier picture is erased. */
static void test_it_erases(void **state) {
    (void)state;
    canvas c;
    char out[256];
    screen_init(&shown, 3, 10);
    for (int i = 0; i < 30; i++)
        screen_feed(&shown, "x", 1);
    screen_feed(&shown, "\x1b[H", 3);
    canvas_init(&c, 10, false);
    line(&c, 0, "one");
    line(&c, 0, "two");
    screen_feed(&shown, out, canvas_write(&c, 3, out, sizeof out));
    assert_string_equal(shown.cells[0], "one       ");
    assert_string_equal(shown.cells[1], "two       ");
    assert_string_equal(shown.cells[2], "          ");
}

/* Lines above the capacity are left out, and nothing is written beyond the buffer. */
static void test_too_much(void **state) {
    (void)state;
    static canvas c;
    static char out[2 * sizeof c.text];
    char little[20];
    canvas_init(&c, 1000, false);
    for (int i = 0; i < 2 * CANVAS_LINES; i++)
        canvas_put(&c, "%0399d", 7), canvas_put(&c, "%0399d", 8), canvas_end_line(&c, i % 3);
    assert_int_equal(c.count, CANVAS_LINES);
    assert_true(canvas_write(&c, 1000, out, sizeof out) < sizeof out);
    assert_true(canvas_write(&c, 1000, little, sizeof little) <= sizeof little);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_it_erases),
        cmocka_unit_test(test_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
