#include "service/settings.h"
#include "service/config_file.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define ENVIRONMENT_PREFIX "ETCDWORKER_"

/* getopt_long returns ROW + i for the option in row i, and NO_ROW + i for its --no- form. */
enum { ASK_CONFIG = 1000, ASK_CHECK, ROW = 2000, NO_ROW = 4000 };

typedef struct flag {
    size_t row;
    const char *value;
} flag;

typedef struct loading {
    settings *s;
    FILE *problems;
    size_t rows;
    struct option *longs; /* getopt's table; it owns the names */
    size_t long_count;
    flag *flags; /* in the order of the command line */
    size_t flag_count;
    int *lines; /* by row: the line of the config file that sets the option; 0: none */
    int status;
} loading;

/* Sets the exit status. EXIT_USAGE and EXIT_FAILED override EXIT_CONFIG: users look at the command line first. */
static void fail(loading *l, int status) {
    if (l->status == EXIT_DONE || status == EXIT_USAGE || status == EXIT_FAILED)
        l->status = status;
}

static size_t row_of(const char *name) {
    size_t i = 0;
    const ew_option_info *row;
    while ((row = ew_option_at(i)) && strcmp(row->name, name) != 0)
        i++;
    return i;
}

/* Returns whether the value is in quotes. A shell removes quotes, but config files, docker's --env-file and systemd
 * units may keep them, and they would become part of a key or path. A password or a plugin's arguments may contain them
 * on purpose. */
static bool is_quoted(const char *name, const char *value) {
    size_t len = strlen(value);
    return len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0] &&
           strcmp(name, "password") != 0 && strcmp(name, "reactor_args") != 0;
}

static bool set(loading *l, size_t row, const char *value, settings_source source, int status, const char *where) {
    ew_error err;
    const char *name = ew_option_at(row)->name;
    int code = is_quoted(name, value) ? ew_fail(&err, EW_ERR_INVALID,
                                                "option %s: the quotes around %.150s are part of the value; leave "
                                                "them out",
                                                name, value)
                                      : ew_options_set(l->s->options, name, value, &err);
    if (code == EW_OK) {
        l->s->sources[row] = (unsigned char)source;
        return true;
    }
    fprintf(l->problems, "%s: %s\n", where, code == EW_ERR_NO_MEMORY ? "out of memory" : err.detail);
    fail(l, code == EW_ERR_NO_MEMORY ? EXIT_FAILED : status);
    return false;
}

/* ---- the command line ---- */

static char *flag_name(const char *before, const char *name) {
    char *text = NULL;
    if (asprintf(&text, "%s%s", before, name) < 0)
        return NULL;
    for (char *c = text; *c; c++) {
        if (*c == '_')
            *c = '-';
    }
    return text;
}

static bool add_long(loading *l, char *name, int has_argument, int answer) {
    l->longs[l->long_count++] = (struct option){name, has_argument, NULL, answer};
    return name != NULL;
}

static bool make_longs(loading *l) {
    l->longs = calloc(2 * l->rows + 5, sizeof *l->longs);
    if (!l->longs)
        return false;
    bool fine = add_long(l, strdup("help"), no_argument, 'h') && add_long(l, strdup("version"), no_argument, 'V') &&
                add_long(l, strdup("config"), required_argument, ASK_CONFIG) &&
                add_long(l, strdup("check-config"), no_argument, ASK_CHECK);
    for (size_t i = 0; fine && i < l->rows; i++) {
        const ew_option_info *row = ew_option_at(i);
        bool is_switch = row->kind == EW_OPTION_SWITCH;
        fine = add_long(l, flag_name("", row->name), is_switch ? optional_argument : required_argument, ROW + (int)i);
        if (fine && is_switch)
            fine = add_long(l, flag_name("no-", row->name), no_argument, NO_ROW + (int)i);
    }
    return fine;
}

/* Returns the value of a switch. `--submit off` means the same as `--submit=off`. */
static const char *switch_value(int argc, char **argv) {
    if (optarg)
        return optarg;
    if (optind < argc && (strcmp(argv[optind], "on") == 0 || strcmp(argv[optind], "off") == 0))
        return argv[optind++];
    return "on";
}

static void refuse_secret(loading *l, const ew_option_info *row) {
    fprintf(l->problems, "--%s: other users can read the command line; set it in the environment or in a file\n",
            row->name);
    fail(l, EXIT_USAGE);
}

static void take_flag(loading *l, int answer, int argc, char **argv) {
    if (answer >= NO_ROW) {
        l->flags[l->flag_count++] = (flag){(size_t)(answer - NO_ROW), "off"};
        return;
    }
    size_t row = (size_t)(answer - ROW);
    if (settings_is_secret(ew_option_at(row)->name)) {
        refuse_secret(l, ew_option_at(row));
        return;
    }
    bool is_switch = ew_option_at(row)->kind == EW_OPTION_SWITCH;
    l->flags[l->flag_count++] = (flag){row, is_switch ? switch_value(argc, argv) : optarg};
}

/* Reports an argument without its value, which may be the password of a mistyped option. */
static void refuse(loading *l, const char *what, const char *argument) {
    size_t len = strcspn(argument, "=");
    fprintf(l->problems, "%s '%.*s%s'; see etcdworkerd --help\n", what, (int)len, argument,
            argument[len] ? "=..." : "");
    fail(l, EXIT_USAGE);
}

/* Returns the wrong option as text. A short one is `optopt`, because it may be one of several in an argument. */
static const char *wrong_option(char **argv) {
    static char letter[3] = "-";
    const char *last = argv[optind - 1];
    if (strncmp(last, "--", 2) == 0 || optopt <= ' ' || optopt > '~')
        return last;
    letter[1] = (char)optopt;
    return letter;
}

static void parse_flags(loading *l, int argc, char **argv) {
    optind = 0; /* glibc: reinitialise getopt */
    opterr = 0;
    int answer;
    while ((answer = getopt_long(argc, argv, ":hV", l->longs, NULL)) != -1) {
        if (answer == 'h')
            l->s->action = SETTINGS_HELP;
        else if (answer == 'V')
            l->s->action = SETTINGS_VERSION;
        else if (answer == ASK_CHECK)
            l->s->action = SETTINGS_CHECK;
        else if (answer == ASK_CONFIG)
            l->s->config_path = optarg;
        else if (answer >= ROW)
            take_flag(l, answer, argc, argv);
        else if (answer == ':')
            refuse(l, "a value is missing after", argv[optind - 1]);
        else
            refuse(l, "unknown or ambiguous option", wrong_option(argv));
    }
    bool mistyped = l->status != EXIT_DONE; /* the next argument may be its value: do not print it */
    for (; optind < argc; optind++)
        refuse(l, "unexpected argument", mistyped ? "..." : argv[optind]);
}

static void apply_flags(loading *l) {
    for (size_t i = 0; i < l->flag_count; i++) {
        const struct option *o = l->longs;
        while (o->val != ROW + (int)l->flags[i].row)
            o++;
        char where[80];
        snprintf(where, sizeof where, "--%s", o->name);
        set(l, l->flags[i].row, l->flags[i].value, SOURCE_FLAG, EXIT_USAGE, where);
    }
}

/* ---- the file ---- */

static void take_line(void *arg, int line, const char *name, const char *value) {
    loading *l = arg;
    char where[4200];
    snprintf(where, sizeof where, "%s:%d", l->s->config_path, line);
    size_t row = row_of(name);
    if (row == l->rows) {
        fprintf(l->problems, "%s: unknown option '%s'\n", where, name);
        fail(l, EXIT_CONFIG);
    } else if (l->lines[row]) {
        fprintf(l->problems, "%s: '%s' was already set in line %d\n", where, name, l->lines[row]);
        fail(l, EXIT_CONFIG);
    } else {
        l->lines[row] = line;
        set(l, row, value, SOURCE_FILE, EXIT_CONFIG, where);
    }
}

static void apply_file(loading *l) {
    int bad = l->s->config_path ? config_file_read(l->s->config_path, take_line, l, l->problems) : 0;
    if (bad != 0)
        fail(l, bad == CONFIG_FILE_NO_MEMORY ? EXIT_FAILED : EXIT_CONFIG);
}

/* ---- the environment ---- */

/* Returns the row of the option that `NAME=value` of the environment sets, or a number that is not below the number of
 * rows. */
static size_t environment_row(const char *entry, const char *end) {
    char name[64];
    size_t len = (size_t)(end - entry);
    if (len >= sizeof name)
        return SIZE_MAX;
    for (size_t i = 0; i < len; i++)
        name[i] = (char)tolower((unsigned char)entry[i]);
    name[len] = '\0';
    return row_of(name);
}

/* An unknown name is only a warning: container platforms set variables such as ETCDWORKER_SERVICE_HOST for a service of
 * this name. */
static void apply_environment(loading *l, char **environment) {
    for (char **e = environment; e && *e; e++) {
        const char *end = strchr(*e, '=');
        if (strncmp(*e, ENVIRONMENT_PREFIX, strlen(ENVIRONMENT_PREFIX)) != 0 || !end)
            continue;
        const char *name = *e + strlen(ENVIRONMENT_PREFIX);
        size_t row = environment_row(name, end);
        char where[80];
        snprintf(where, sizeof where, "%.*s", (int)(end - *e), *e);
        if (row < l->rows)
            set(l, row, end + 1, SOURCE_ENVIRONMENT, EXIT_CONFIG, where);
        else if (strncmp(name, "CONFIG=", 7) != 0)
            fprintf(l->problems, "warning: %s in the environment is ignored: there is no such option\n", where);
    }
}

static const char *environment_config(char **environment) {
    static const char name[] = ENVIRONMENT_PREFIX "CONFIG=";
    for (char **e = environment; e && *e; e++) {
        if (strncmp(*e, name, sizeof name - 1) == 0)
            return *e + sizeof name - 1;
    }
    return NULL;
}

/* ---- all sources ---- */

static void load(loading *l, int argc, char **argv, char **environment) {
    settings *s = l->s;
    s->options = ew_options_new();
    s->sources = calloc(l->rows, sizeof *s->sources);
    l->lines = calloc(l->rows, sizeof *l->lines);
    l->flags = calloc((size_t)argc, sizeof *l->flags);
    if (!s->options || !s->sources || !l->lines || !l->flags || !make_longs(l)) {
        fprintf(l->problems, "out of memory\n");
        fail(l, EXIT_FAILED);
        return;
    }
    s->config_path = environment_config(environment);
    parse_flags(l, argc, argv);
    /* --help and --version work even if the rest of the command line is wrong. */
    if (s->action == SETTINGS_HELP || s->action == SETTINGS_VERSION || l->status != EXIT_DONE)
        return;
    apply_file(l);
    apply_environment(l, environment);
    apply_flags(l);
}

int settings_load(settings *s, int argc, char **argv, char **environment, FILE *problems) {
    memset(s, 0, sizeof *s);
    loading l = {.s = s, .problems = problems};
    while (ew_option_at(l.rows))
        l.rows++;
    load(&l, argc, argv, environment);
    for (size_t i = 0; i < l.long_count; i++)
        free((char *)l.longs[i].name);
    free(l.longs);
    free(l.lines);
    free(l.flags);
    return l.status;
}

void settings_fini(settings *s) {
    ew_options_free(s->options);
    free(s->sources);
    memset(s, 0, sizeof *s);
}

settings_source settings_source_of(const settings *s, const char *name) {
    size_t row = row_of(name);
    return ew_option_at(row) ? (settings_source)s->sources[row] : SOURCE_DEFAULT;
}
