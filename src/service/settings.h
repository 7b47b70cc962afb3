/* The settings of etcdworkerd: flags override the environment, which overrides the config file, which overrides the
 * defaults. All of them come from the one table of options. */
#ifndef SERVICE_SETTINGS_H
#define SERVICE_SETTINGS_H

#include <etcdworker/options.h>
#include <stdio.h>

/* The exit statuses of etcdworkerd. 71, 75 and 78 are EX_OSERR, EX_TEMPFAIL and EX_CONFIG of sysexits.h. */
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

/* Loads all settings. All errors go to `problems`, one per line. Returns EXIT_DONE, EXIT_USAGE (the command line),
 * EXIT_CONFIG (file or environment) or EXIT_FAILED (memory). Call settings_fini in every case. */
int settings_load(settings *s, int argc, char **argv, char **environment, FILE *problems);
void settings_fini(settings *s);

/* Returns where the option's value came from. */
settings_source settings_source_of(const settings *s, const char *name);

/* Returns whether the option is a secret, such as a password. A secret is not a flag, since other users can read
 * command lines. It is never printed, since output ends up in bug reports. */
bool settings_is_secret(const char *name);

/* Prints the value of an option as in a config file; a choice by its name. */
void settings_print_value(FILE *out, const ew_options *o, const ew_option_info *row);

/* Print the texts of --help and --check-config. The latter is a valid config file; in it, secrets, and values that
 * cannot be written in a config file, are comments. */
void settings_print_help(FILE *out);
void settings_print_effective(FILE *out, const settings *s);

#endif
