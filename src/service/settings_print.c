#include "service/settings.h"

#include <ctype.h>
#include <etcdworker/version.h>
#include <inttypes.h>
#include <string.h>

/* ---- values ---- */

static void print_choice(FILE *out, const char *choices, int64_t position) {
    for (; position > 0; position--)
        choices = strchr(choices, '|') + 1;
    fprintf(out, "%.*s", (int)strcspn(choices, "|"), choices);
}

void settings_print_value(FILE *out, const ew_options *o, const ew_option_info *row) {
    int64_t number = row->kind == EW_OPTION_TEXT ? 0 : ew_options_int(o, row->name);
    if (row->kind == EW_OPTION_TEXT)
        fputs(ew_options_text(o, row->name), out);
    else if (row->kind == EW_OPTION_CHOICE)
        print_choice(out, row->choices, number);
    else if (row->kind == EW_OPTION_SWITCH)
        fputs(number ? "on" : "off", out);
    else
        fprintf(out, "%" PRId64, number);
}

static bool ends_in(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

bool settings_is_secret(const char *name) {
    return ends_in(name, "password") || ends_in(name, "token") || ends_in(name, "secret");
}

/* Returns whether the value can be written in a config file: see config_file.c, and inih for blanks and comments. */
static bool fits_into_a_line(const char *text) {
    bool blank = false; /* the previous character */
    if (isspace((unsigned char)text[0]))
        return false;
    for (; *text; text++) {
        if (*text == '\n' || (blank && *text == ';'))
            return false;
        blank = isspace((unsigned char)*text);
    }
    return !blank;
}

static void print_escaped(FILE *out, const char *text) {
    for (; *text; text++)
        fprintf(out, isprint((unsigned char)*text) ? "%c" : "\\x%02x", (unsigned char)*text);
}

static void print_effective_value(FILE *out, const settings *s, const ew_option_info *row) {
    const char *text = row->kind == EW_OPTION_TEXT ? ew_options_text(s->options, row->name) : "0";
    bool hide = settings_is_secret(row->name) && text[0] != '\0', fits = fits_into_a_line(text);
    fprintf(out, "%s%s =", hide || !fits ? "# " : "", row->name);
    if (text[0] != '\0' && text[0] != ';') /* a ';' after a blank would begin a comment */
        fputc(' ', out);
    if (hide)
        fputs("(hidden)", out);
    else if (fits)
        settings_print_value(out, s->options, row);
    else
        print_escaped(out, text), fputs("  (cannot be written in a config file)", out);
}

void settings_print_effective(FILE *out, const settings *s) {
    static const char *const sources[] = {"", "  ; file", "  ; environment", "  ; flag"};
    const char *group = "";
    fprintf(out, "# etcdworkerd %s: the options in effect\n", ew_version());
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        if (strcmp(group, row->group) != 0)
            fprintf(out, "\n# %s\n", row->group);
        group = row->group;
        print_effective_value(out, s, row);
        fprintf(out, "%s\n", sources[s->sources[i]]);
    }
}

/* ---- help ---- */

enum { LEFT = 8, RIGHT = 79 };

/* Prints words from column LEFT on, with line breaks before column RIGHT. */
static void print_words(FILE *out, const char *text) {
    int column = LEFT;
    fprintf(out, "%*s", LEFT, "");
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > LEFT && column + 1 + word > RIGHT) {
            fprintf(out, "\n%*s", LEFT, "");
            column = LEFT;
        } else if (column > LEFT) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static const char *unit_of(const char *name) {
    if (ends_in(name, "_ms"))
        return " milliseconds";
    if (ends_in(name, "_s") || strcmp(name, "seconds") == 0)
        return " seconds";
    if (ends_in(name, "_bytes"))
        return " bytes";
    return "";
}

static void print_flag(FILE *out, const ew_option_info *row) {
    if (settings_is_secret(row->name)) {
        fputs("  ETCDWORKER_", out);
        for (const char *c = row->name; *c; c++)
            fputc(toupper((unsigned char)*c), out);
        fputs("=TEXT\n", out);
        return;
    }
    fputs("  --", out);
    if (row->kind == EW_OPTION_SWITCH)
        fputs("[no-]", out);
    for (const char *c = row->name; *c; c++)
        fputc(*c == '_' ? '-' : *c, out);
    if (row->kind == EW_OPTION_INT)
        fputs("=N", out);
    else if (row->kind == EW_OPTION_CHOICE)
        fprintf(out, "=%s", row->choices);
    else if (row->kind == EW_OPTION_TEXT)
        fputs("=TEXT", out);
    fputc('\n', out);
}

static void print_row(FILE *out, const ew_option_info *row) {
    char line[160];
    print_flag(out, row);
    print_words(out, row->help);
    const char *unit = unit_of(row->name);
    if (row->kind == EW_OPTION_INT) {
        snprintf(line, sizeof line, "(%" PRId64 " to %" PRId64 "%s; default %" PRId64 ")", row->min, row->max, unit,
                 row->default_number);
    } else if (row->kind == EW_OPTION_SWITCH) {
        snprintf(line, sizeof line, "(default %s)", row->default_number ? "on" : "off");
    } else if (row->kind == EW_OPTION_TEXT) {
        const char *text = row->default_text;
        snprintf(line, sizeof line, "(default %s%s%s)", *text ? "\"" : "", *text ? text : "empty", *text ? "\"" : "");
    } else {
        const char *word = row->choices;
        for (int64_t i = row->default_number; i > 0; i--)
            word = strchr(word, '|') + 1;
        snprintf(line, sizeof line, "(default %.*s)", (int)strcspn(word, "|"), word);
    }
    print_words(out, line);
}

static const char *title_of(const char *group) {
    static const struct {
        const char *group, *title;
    } titles[] = {
        {"client", "Connection to etcd"},
        {"worker", "Worker: watching the prefix and committing patches"},
        {"service", "Service: reactor, sockets, HTTP, log and election"},
    };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        if (strcmp(titles[i].group, group) == 0)
            return titles[i].title;
    }
    return group;
}

static const char intro[] = "Usage: etcdworkerd [OPTION]...\n"
                            "\n"
                            "Runs a reactor on an etcd v3 key prefix: each tick gets a consistent snapshot of\n"
                            "the prefix, and the changes that it requests are committed in optimistic\n"
                            "transactions, each exactly once.\n"
                            "\n"
                            "Examples:\n"
                            "  etcdworkerd --dev --demo\n"
                            "        try it: a private etcd, a small sample, and a live view\n"
                            "  etcdworkerd --endpoints=10.0.0.1:2379,10.0.0.2:2379 --prefix=/app\n"
                            "        spread the tasks under /app/tasks/ over the members under /app/members/\n"
                            "  etcdworkerd --prefix=/app --elect=/elections/app\n"
                            "        the same with several daemons: one is elected, the others are standbys\n"
                            "  etcdworkerd --config=/etc/etcdworker.conf --reactor=./mine.so\n"
                            "        run a reactor of your own, from a shared object\n"
                            "  etcdworkerd --config=/etc/etcdworker.conf --check-config\n"
                            "        print the options in effect, and what is wrong with them\n"
                            "\n"
                            "The built-in reactor, assign, reads these keys below the prefix:\n"
                            "  members/<id>        a live member; the value may be {\"capacity\": N}, its share\n"
                            "                      of the load, default 1; 0 drains it. Bind it to a lease.\n"
                            "  tasks/<id>          a task; the value may be {\"weight\": N}, default 1\n"
                            "and writes, for each task:\n"
                            "  assignments/<task>  {\"member\":\"<id>\"}\n"
                            "\n"
                            "  -h, --help           print this and exit\n"
                            "  -V, --version        print the version and exit\n"
                            "      --config=FILE    read options from a file of `name = value` lines\n"
                            "      --check-config   print the options in effect and exit: 0, or 78 if some\n"
                            "                       are wrong\n"
                            "\n"
                            "Each option below can also be set in the config file (tick_interval_ms = 500)\n"
                            "and in the environment (ETCDWORKER_TICK_INTERVAL_MS=500). A flag overrides the\n"
                            "environment, which overrides the file, which overrides the default.\n";

static const char outro[] = "\n"
                            "Signals:\n"
                            "  SIGTERM and SIGINT stop the daemon once the transaction in flight is decided;\n"
                            "  a second one ends the process at once. SIGHUP reloads the files of\n"
                            "  certificates, keys and password; with --dev it stops the daemon.\n"
                            "\n"
                            "Exit status:\n"
                            "   0  done, or stopped by a signal\n"
                            "   1  failed, or forced by a second signal\n"
                            "   2  invalid command line\n"
                            "  71  the system refused a thread, a file, memory or a port; the log says why\n"
                            "  75  temporary failure, a later start may work: etcd is not available, or a\n"
                            "      session was lost\n"
                            "  78  invalid configuration\n";

void settings_print_help(FILE *out) {
    fputs(intro, out);
    const char *group = "";
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        if (strcmp(group, row->group) != 0)
            fprintf(out, "\n%s:\n", title_of(row->group));
        group = row->group;
        print_row(out, row);
    }
    fputs(outro, out);
}
