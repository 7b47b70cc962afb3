/* What etcdworkerd was asked to do: flags over environment over config file over defaults, all from the one table of
 * options. */
#ifndef SERVICE_SETTINGS_H
#define SERVICE_SETTINGS_H

#include <etcdworker/options.h>
#include <stdio.h>

/* What etcdworkerd ends with. 71, 75 and 78 are sysexits.h's EX_OSERR, EX_TEMPFAIL and EX_CONFIG. */
enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_SYSTEM = 71,
    EXIT_TEMPORARY = 75,
    EXIT_CONFIG = 78,
};

typedef enum settings_action { SETTINGS_RUN, SETTINGS_HELP, SETTINGS_VERSION, SETTINGS_CHECK } settings_action;

typedef enum settings_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG } settings_source;

typedef struct settings {
    settings_action action;
    ew_options *options;
    const char *config_path; /* borrowed from argv or the environment; NULL: none */
    unsigned char *sources;  /* a settings_source for each row of the table */
} settings;

/* Reads everything. Problems go to `problems`, one a line, all of them. Answers EXIT_DONE, EXIT_USAGE (the command
 * line), EXIT_CONFIG (file or environment) or EXIT_FAILED (memory). settings_fini is due in every case. */
int settings_load(settings *s, int argc, char **argv, char **environment, FILE *problems);
void settings_fini(settings *s);

/* Where the option's value came from. */
settings_source settings_source_of(const settings *s, const char *name);

/* A password is no flag, since everybody may look at command lines; and it is never printed, not even to who set it:
 * output ends up in tickets. */
bool settings_is_secret(const char *name);

/* Prints the value of a row as a config file would give it; a choice by its word. */
void settings_print_value(FILE *out, const ew_options *o, const ew_option_info *row);

/* The texts of --help and --check-config. The latter is a config file again; in it, what is secret and what no line of
 * a file can say are comments. */
void settings_print_help(FILE *out);
void settings_print_effective(FILE *out, const settings *s);

#endif
