/* The log's queue and thread: order, gaps, and a descriptor that accepts no bytes. */
#include "service/log_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { STOP_MS = 100, FAR_MS = 60000 };

static size_t make_note(char out[LOG_LINE_BYTES], uint64_t count) {
    return (size_t)snprintf(out, LOG_LINE_BYTES, "dropped %llu\n", (unsigned long long)count);
}

static int ends[2];

/* Starts the writer on a pipe of `bytes` bytes. A pipe of one page accepts nothing more after its first line. */
static void start(int bytes) {
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, bytes) >= bytes);
    assert_int_equal(log_writer_start(ends[1], make_note, NULL), EW_OK);
}

static void stop_writer(void) {
    log_writer_stop(STOP_MS);
    close(ends[0]);
    close(ends[1]);
}

static void put(const char *text) {
    log_writer_put(text, strlen(text));
}

/* Writes a line of 1,000 bytes that begins with its number. */
static void put_numbered(int number) {
    char line[1000];
    memset(line, '.', sizeof line);
    line[snprintf(line, sizeof line, "%d", number)] = ' ';
    line[sizeof line - 1] = '\n';
    log_writer_put(line, sizeof line);
}

static void test_lines_come_out_in_order(void **state) {
    (void)state;
    char out[100] = "";
    start(65536);
    put("one\n");
    put("two\n");
    log_writer_flush(FAR_MS);
    assert_int_equal(read(ends[0], out, sizeof out), 8);
    assert_string_equal(out, "one\ntwo\n");
    assert_int_equal(log_writer_start(ends[1], make_note, NULL), EW_ERR_SYSTEM); /* already started */
    stop_writer();
}

/* If the pipe is not read, callers do not wait. Lines that do not fit are counted, and a note replaces them. */
static void test_a_gap(void **state) {
    (void)state;
    enum { LINES = 1000 };
    char line[2000];
    uint64_t before = log_writer_dropped();
    start(4096);
    for (int i = 0; i < LINES; i++)
        put_numbered(i);
    uint64_t dropped = log_writer_dropped() - before;
    assert_in_range(dropped, 1, LINES - 1);
    FILE *f = fdopen(dup(ends[0]), "r");
    int next = 0;
    while (fgets(line, sizeof line, f) && strncmp(line, "dropped ", 8) != 0)
        assert_int_equal(atoi(line), next++); /* no line is missing before the gap */
    assert_int_equal(strtoull(line + 8, NULL, 10), dropped);
    assert_int_equal(next, LINES - dropped);
    put("after\n");
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line, "after\n");
    assert_int_equal(log_writer_dropped() - before, dropped);
    fclose(f);
    stop_writer();
}

/* A thread that is blocked in write() does not delay the stop, and leaves nothing for the next writer. */
static void test_stop_of_a_blocked_thread(void **state) {
    (void)state;
    for (int round = 0; round < 3; round++) {
        start(4096);
        for (int i = 0; i < 100; i++)
            put_numbered(i);
        stop_writer();
    }
    test_lines_come_out_in_order(state);
}

static void test_nothing_can_be_written(void **state) {
    (void)state;
    uint64_t before = log_writer_dropped();
    signal(SIGPIPE, SIG_IGN);
    start(4096);
    close(ends[0]);
    for (int i = 0; i < 10; i++)
        put_numbered(i);
    log_writer_flush(FAR_MS);
    assert_int_equal(log_writer_dropped() - before, 10);
    log_writer_stop(STOP_MS);
    close(ends[1]);
    put("nobody writes\n");
    assert_int_equal(log_writer_dropped() - before, 11);
}

/* If the descriptor accepts nothing for a while (a full disk), a partly written line is ended before the next one. */
static void test_a_descriptor_that_was_full(void **state) {
    (void)state;
    char line[2000];
    start(4096);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0); /* as another process may set it */
    for (int i = 0; i < 20; i++)
        put_numbered(i);
    FILE *f = fdopen(dup(ends[0]), "r");
    for (int i = 0; i < 20; i++) {
        assert_non_null(fgets(line, sizeof line, f));
        assert_int_equal(atoi(line), i);
        assert_int_equal(strlen(line), 1000);
    }
    fclose(f);
    stop_writer();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_out_in_order),    cmocka_unit_test(test_a_gap),
        cmocka_unit_test(test_stop_of_a_blocked_thread),   cmocka_unit_test(test_nothing_can_be_written),
        cmocka_unit_test(test_a_descriptor_that_was_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
