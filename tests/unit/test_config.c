/* Flags come before the environment, the environment before the file, the file before the defaults. Every mistake is
 * reported with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/settings.h"

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

static char path[] = "/tmp/etcdworker-config-XXXXXX";
static char problems[8192];

static int make_file(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void write_file(const char *text, size_t len) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int load(settings *s, char **arguments, char **environment) {
    char *argv[40] = {"etcdworkerd"};
    int argc = 1;
    for (; arguments && *arguments; arguments++)
        argv[argc++] = *arguments;
    memset(problems, 0, sizeof problems);
    FILE *out = fmemopen(problems, sizeof problems - 1, "w");
    assert_non_null(out);
    int status = settings_load(s, argc, argv, environment, out);
    fclose(out);
    return status;
}

static int load_file(settings *s, const char *text) {
    write_file(text, strlen(text));
    return load(s, LIST("--config", path), NULL);
}

/* Loads an invalid configuration and expects a status, and a text in the problems. */
static void expect(int wanted, char **arguments, char **environment, const char *problem) {
    settings s;
    int status = load(&s, arguments, environment);
    settings_fini(&s);
    if (status != wanted || !strstr(problems, problem))
        fail_msg("status %d, wanted %d with '%s'; problems: %s", status, wanted, problem, problems);
}

static void expect_in_file(const char *text, const char *problem) {
    char wanted[400];
    settings s;
    int status = load_file(&s, text);
    settings_fini(&s);
    snprintf(wanted, sizeof wanted, "%s%s", path, problem);
    if (status != EXIT_CONFIG || !strstr(problems, wanted))
        fail_msg("status %d; wanted '%s' among: %s", status, wanted, problems);
}

static void test_precedence_of_the_sources(void **state) {
    (void)state;
    settings s;
    write_file("tick_interval_ms = 1\nslow_tick_ms = 2\nmax_txn_keys = 3\n", 55);
    assert_int_equal(load(&s, LIST("--config", path, "--tick-interval-ms", "30"),
                          LIST("ETCDWORKER_TICK_INTERVAL_MS=20", "ETCDWORKER_SLOW_TICK_MS=21", "OTHER=1")),
                     EXIT_DONE);
    assert_string_equal(problems, "");
    assert_int_equal(ew_options_int(s.options, "tick_interval_ms"), 30);
    assert_int_equal(ew_options_int(s.options, "slow_tick_ms"), 21);
    assert_int_equal(ew_options_int(s.options, "max_txn_keys"), 3);
    assert_int_equal(ew_options_int(s.options, "page_bytes"), 8388608);
    assert_int_equal(settings_source_of(&s, "tick_interval_ms"), SOURCE_FLAG);
    assert_int_equal(settings_source_of(&s, "slow_tick_ms"), SOURCE_ENVIRONMENT);
    assert_int_equal(settings_source_of(&s, "max_txn_keys"), SOURCE_FILE);
    assert_int_equal(settings_source_of(&s, "page_bytes"), SOURCE_DEFAULT);
    settings_fini(&s);
}

static void test_every_option_in_every_source(void **state) {
    (void)state;
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        char value[256], flag[320], variable[320], line[320];
        ew_options *defaults = ew_options_new();
        FILE *out = fmemopen(value, sizeof value, "w");
        settings_print_value(out, defaults, row);
        fputc('\0', out);
        fclose(out);
        ew_options_free(defaults);

        snprintf(flag, sizeof flag, "--%s=%s", row->name, value);
        for (char *c = flag; *c != '='; c++)
            *c = *c == '_' ? '-' : *c;
        snprintf(variable, sizeof variable, "ETCDWORKER_%s=%s", row->name, value);
        for (char *c = variable; *c != '='; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
        snprintf(line, sizeof line, "%s = %s\n", row->name, value);
        settings s;
        bool secret = strcmp(row->name, "password") == 0; /* not allowed on the command line */
        assert_int_equal(load(&s, LIST(flag), NULL), secret ? EXIT_USAGE : EXIT_DONE);
        assert_int_equal(settings_source_of(&s, row->name), secret ? SOURCE_DEFAULT : SOURCE_FLAG);
        settings_fini(&s);
        assert_int_equal(load(&s, NULL, LIST(variable)), EXIT_DONE);
        assert_int_equal(settings_source_of(&s, row->name), SOURCE_ENVIRONMENT);
        settings_fini(&s);
        assert_int_equal(load_file(&s, line), EXIT_DONE);
        assert_int_equal(settings_source_of(&s, row->name), SOURCE_FILE);
        settings_fini(&s);
    }
}

static void test_switches(void **state) {
    (void)state;
    settings s;
    assert_int_equal(load(&s, LIST("--submit", "--no-coalesce", "--tick-on-load", "off", "--exactly-once=off"), NULL),
                     EXIT_DONE);
    assert_int_equal(ew_options_int(s.options, "submit"), 1);
    assert_int_equal(ew_options_int(s.options, "coalesce"), 0);
    assert_int_equal(ew_options_int(s.options, "tick_on_load"), 0);
    assert_int_equal(ew_options_int(s.options, "exactly_once"), 0);
    settings_fini(&s);
}

static void test_invalid_command_lines(void **state) {
    (void)state;
    expect(EXIT_USAGE, LIST("--bogus"), NULL, "'--bogus'");
    expect(EXIT_USAGE, LIST("--bogus=1"), NULL, "'--bogus=...'");
    expect(EXIT_USAGE, LIST("-x"), NULL, "'-x'");
    expect(EXIT_USAGE, LIST("left over"), NULL, "'left over'");
    expect(EXIT_USAGE, LIST("--prefix"), NULL, "value is missing after '--prefix'");
    expect(EXIT_USAGE, LIST("--tick-interval-ms=0"), NULL, "--tick-interval-ms: ");
    expect(EXIT_USAGE, LIST("--isolation=none"), NULL, "not one of snapshot|serializable");
    expect(EXIT_USAGE, LIST("--submit=maybe"), NULL, "neither on nor off");
    expect(EXIT_USAGE, LIST("--version=1"), NULL, "'--version=...'");
}

static void test_invalid_environments(void **state) {
    (void)state;
    expect(EXIT_CONFIG, NULL, LIST("ETCDWORKER_PAGE_BYTES=1"), "ETCDWORKER_PAGE_BYTES: ");
    expect(EXIT_CONFIG, NULL, LIST("ETCDWORKER_CONFIG=/nowhere/at/all"), "/nowhere/at/all: No such file");
    /* Some platforms set such variables by themselves, so an unknown one is only a warning. */
    expect(EXIT_DONE, NULL, LIST("ETCDWORKER_SERVICE_HOST=10.0.0.1"), "warning: ETCDWORKER_SERVICE_HOST");
}

static void test_invalid_files(void **state) {
    (void)state;
    expect_in_file("prefix = /a\nnonsense\n", ":2: expected");
    expect_in_file("nonsense", ":1: expected");
    expect_in_file("= 5\n", ":1: expected");
    expect_in_file("\n\n  bogus_ms = 5\n", ":3: unknown option 'bogus_ms'");
    expect_in_file("tick-interval-ms = 5\n", ":1: unknown option 'tick-interval-ms'");
    expect_in_file("tick_interval_ms = 5x\n", ":1: option tick_interval_ms: '5x'");
    expect_in_file("tick_interval_ms =\n", ":1: option tick_interval_ms: ''");
    expect_in_file("[worker]\nprefix = /a\n", ":1: sections");
    expect_in_file("prefix = /a\nprefix = /b\n", ":2: 'prefix' was already set in line 1");
    expect_in_file("prefix = /a\n  prefix_match = tree\n", ":2: option prefix_match: 'tree'");
}

static void test_every_invalid_line_is_reported(void **state) {
    (void)state;
    settings s;
    assert_int_equal(load_file(&s, "a\nb = 1\nc\nname = x\n[d]\n"), EXIT_CONFIG);
    int lines = 0;
    for (const char *c = problems; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 4);
    assert_string_equal(ew_options_text(s.options, "name"), "x");
    settings_fini(&s);
}

static void test_nul_bytes(void **state) {
    (void)state;
    settings s;
    write_file("name = a\0b\n\nprefix = /a\0\r\n\0", 27); /* in the middle, at the end, and alone */
    assert_int_equal(load(&s, LIST("--config", path), NULL), EXIT_CONFIG);
    assert_non_null(strstr(problems, ":1: the line contains a NUL byte"));
    assert_non_null(strstr(problems, ":3: the line contains a NUL byte"));
    assert_non_null(strstr(problems, ":4: the line contains a NUL byte"));
    settings_fini(&s);
}

static void test_lines_of_any_length(void **state) {
    (void)state;
    static char text[9000] = "name = ";
    memset(text + 7, 'a', 1000);
    settings s;
#ifdef HAVE_INI_MAX_LINE
    assert_int_equal(load_file(&s, text), EXIT_DONE);
    assert_int_equal(strlen(ew_options_text(s.options, "name")), 1000);
    settings_fini(&s);
#endif
    memset(text + 7, 'a', 8000);
    assert_int_equal(load_file(&s, text), EXIT_CONFIG);
    assert_non_null(strstr(problems, ":1: the line is too long"));
    settings_fini(&s);
}

static void test_what_a_file_may_contain(void **state) {
    (void)state;
    settings s;
    assert_int_equal(load_file(&s, "\xEF\xBB\xBF# a comment\r\n; another\r\n\r\n\tprefix\t=\t/a b  ; why\r\nname=x"),
                     EXIT_DONE);
    assert_string_equal(problems, "");
    assert_string_equal(ew_options_text(s.options, "prefix"), "/a b");
    assert_string_equal(ew_options_text(s.options, "name"), "x");
    settings_fini(&s);
}

static char *print(void (*fn)(FILE *, const settings *), const settings *s) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    fn(out, s);
    fclose(out);
    return text;
}

static void test_check_config_prints_a_config_file(void **state) {
    (void)state;
    settings s, again;
    assert_int_equal(load(&s, LIST("--prefix=;a b;", "--no-coalesce", "--isolation=serializable", "--page-bytes=70000"),
                          LIST("ETCDWORKER_NAME=n")),
                     EXIT_DONE);
    char *text = print(settings_print_effective, &s);
    assert_non_null(strstr(text, "\nname = n  ; environment\n"));
    assert_int_equal(load_file(&again, text), EXIT_DONE);
    assert_string_equal(problems, "");
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        if (row->kind == EW_OPTION_TEXT)
            assert_string_equal(ew_options_text(s.options, row->name), ew_options_text(again.options, row->name));
        else
            assert_int_equal(ew_options_int(s.options, row->name), ew_options_int(again.options, row->name));
    }
    free(text);
    settings_fini(&s);
    settings_fini(&again);
}

static void test_values_that_no_line_can_have_are_comments(void **state) {
    (void)state;
    static char *const values[] = {"/a\nname = b", " /a", "/a\t", "/a ;b", "; ;", "\r"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        settings s, again;
        char flag[40];
        snprintf(flag, sizeof flag, "--prefix=%s", values[i]);
        assert_int_equal(load(&s, LIST(flag), NULL), EXIT_DONE);
        char *text = print(settings_print_effective, &s);
        assert_non_null(strstr(text, "\n# prefix ="));
        assert_non_null(strstr(text, "  (cannot be written in a config file)  ; flag\n"));
        assert_int_equal(load_file(&again, text), EXIT_DONE);
        assert_string_equal(problems, "");
        assert_string_equal(ew_options_text(again.options, "prefix"), "");
        assert_string_equal(ew_options_text(again.options, "name"), ew_options_text(s.options, "name"));
        free(text);
        settings_fini(&s);
        settings_fini(&again);
    }
}

static void test_a_password_stays_a_secret(void **state) {
    (void)state;
    settings s;
    assert_int_equal(load(&s, LIST("--user=app", "--password=hush"), NULL), EXIT_USAGE);
    assert_non_null(strstr(problems, "--password: other users can read the command line"));
    assert_null(strstr(problems, "hush"));
    settings_fini(&s);
    static char *const mistyped[] = {"--passw=hush", "--Password=hush", "--passwd=hush"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(load(&s, LIST("--user=app", mistyped[i]), NULL), EXIT_USAGE);
        assert_non_null(strstr(problems, "unknown or ambiguous option '--"));
        assert_null(strstr(problems, "hush"));
        settings_fini(&s);
    }
    assert_int_equal(load(&s, LIST("--passw", "hush"), NULL), EXIT_USAGE);
    assert_null(strstr(problems, "hush"));
    settings_fini(&s);
    assert_int_equal(load(&s, LIST("--user=app"), LIST("ETCDWORKER_PASSWORD=hush")), EXIT_DONE);
    assert_string_equal(ew_options_text(s.options, "password"), "hush");
    char *text = print(settings_print_effective, &s);
    assert_null(strstr(text, "hush"));
    assert_non_null(strstr(text, "\n# password = (hidden)  ; environment\n"));
    free(text);
    settings_fini(&s);
}

static void print_help(FILE *out, const settings *s) {
    (void)s;
    settings_print_help(out);
}

static void test_help_names_every_option_and_fits_a_terminal(void **state) {
    (void)state;
    char *text = print(print_help, NULL);
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        char flag[100];
        snprintf(flag, sizeof flag, "%s%s%s", row->kind == EW_OPTION_SWITCH ? "--[no-]" : "--", row->name,
                 row->kind == EW_OPTION_SWITCH ? "\n" : "=");
        for (char *c = flag; *c; c++)
            *c = *c == '_' ? '-' : *c;
        if (strcmp(row->name, "password") == 0)
            snprintf(flag, sizeof flag, "  ETCDWORKER_PASSWORD=");
        if (!strstr(text, flag))
            fail_msg("--help does not name %s", flag);
    }
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 82);
    free(text);
}

/* The manual page is written by hand; its ranges and defaults must be those of the options table. */
static void test_the_manual_names_every_option(void **state) {
    (void)state;
    static char manual[1 << 16];
    char file[600];
    const char *source = getenv("EW_SOURCE_DIR");
    snprintf(file, sizeof file, "%s/docs/man/etcdworkerd.1", source ? source : ".");
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    manual[fread(manual, 1, sizeof manual - 1, f)] = '\0';
    fclose(f);
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        char flag[100], range[120];
        snprintf(flag, sizeof flag, ".It Fl Fl %s ", row->name);
        for (char *c = flag; *c; c++)
            *c = *c == '_' ? '-' : *c;
        if (strcmp(row->name, "password") == 0)
            snprintf(flag, sizeof flag, ".It Ev ETCDWORKER_PASSWORD ");
        const char *entry = strstr(manual, flag);
        if (!entry)
            fail_msg("the manual lacks '%s'", flag);
        snprintf(range, sizeof range, "\n%lld to %lld", (long long)row->min, (long long)row->max);
        const char *given = row->kind == EW_OPTION_INT ? strstr(entry, range) : entry;
        snprintf(range, sizeof range, "; default %lld.\n", (long long)row->default_number);
        if (!given || (row->kind == EW_OPTION_INT && !strstr(given, range)))
            fail_msg("the manual has another range or default of %s", row->name);
    }
}

static void test_actions(void **state) {
    (void)state;
    static const struct {
        char *flag;
        settings_action action;
    } asked[] = {{"--help", SETTINGS_HELP},          {"-h", SETTINGS_HELP},
                 {"--version", SETTINGS_VERSION},    {"-V", SETTINGS_VERSION},
                 {"--check-config", SETTINGS_CHECK}, {"--dev", SETTINGS_RUN}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        settings s;
        assert_int_equal(load(&s, LIST(asked[i].flag), NULL), EXIT_DONE);
        assert_int_equal(s.action, asked[i].action);
        settings_fini(&s);
    }
}

/* Quotes would become part of the key or of the file's name, so they are refused from every source. */
static void test_quotes_are_refused(void **state) {
    (void)state;
    settings s;
    expect_in_file("prefix = \"/x\"\n", ":1: option prefix: the quotes around \"/x\" are part of the value");
    expect_in_file("\nendpoints = 'h:2379'\n", ":2: option endpoints: the quotes around 'h:2379'");
    expect_in_file("tick_interval_ms = \"5\"\n", ":1: option tick_interval_ms: the quotes around");
    expect(EXIT_CONFIG, NULL, LIST("ETCDWORKER_PREFIX=\"/x\""), "ETCDWORKER_PREFIX: option prefix: the quotes around");
    expect(EXIT_USAGE, LIST("--prefix='/x'"), NULL, "--prefix: option prefix: the quotes around '/x'");
    assert_int_equal(load_file(&s, "prefix = \"x\npassword = \"p\"\nreactor_args = 'a' 'b'\n"), EXIT_DONE);
    assert_string_equal(ew_options_text(s.options, "prefix"), "\"x");
    assert_string_equal(ew_options_text(s.options, "password"), "\"p\"");
    assert_string_equal(ew_options_text(s.options, "reactor_args"), "'a' 'b'");
    settings_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quotes_are_refused),
        cmocka_unit_test(test_precedence_of_the_sources),
        cmocka_unit_test(test_every_option_in_every_source),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_invalid_command_lines),
        cmocka_unit_test(test_invalid_environments),
        cmocka_unit_test(test_invalid_files),
        cmocka_unit_test(test_every_invalid_line_is_reported),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_lines_of_any_length),
        cmocka_unit_test(test_what_a_file_may_contain),
        cmocka_unit_test(test_check_config_prints_a_config_file),
        cmocka_unit_test(test_values_that_no_line_can_have_are_comments),
        cmocka_unit_test(test_a_password_stays_a_secret),
        cmocka_unit_test(test_help_names_every_option_and_fits_a_terminal),
        cmocka_unit_test(test_the_manual_names_every_option),
        cmocka_unit_test(test_actions),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
