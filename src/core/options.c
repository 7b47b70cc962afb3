#include "core/options_internal.h"

#include "core/argument.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

typedef struct row {
    ew_option_info info;
    size_t offset; /* of the member in struct ew_options */
} row;

static const row table[] = {
#define OPT_INT(group, name, value, min, max, help)                                                                    \
    {{#group, #name, EW_OPTION_INT, min, max, value, NULL, NULL, help}, offsetof(ew_options, name)},
#define OPT_SWITCH(group, name, value, help)                                                                           \
    {{#group, #name, EW_OPTION_SWITCH, 0, 1, value, NULL, NULL, help}, offsetof(ew_options, name)},
#define OPT_CHOICE(group, name, choices, value, help)                                                                  \
    {{#group, #name, EW_OPTION_CHOICE, 0, 0, value, NULL, choices, help}, offsetof(ew_options, name)},
#define OPT_TEXT(group, name, value, help)                                                                             \
    {{#group, #name, EW_OPTION_TEXT, 0, 0, 0, value, NULL, help}, offsetof(ew_options, name)},
#include "core/options.def"
};
#define ROWS (sizeof table / sizeof table[0])

const ew_option_info *ew_option_at(size_t i) {
    return i < ROWS ? &table[i].info : NULL;
}

static const row *find(const char *name) {
    for (size_t i = 0; name && i < ROWS; i++) {
        if (strcmp(table[i].info.name, name) == 0)
            return &table[i];
    }
    return NULL;
}

static int64_t *number_of(const ew_options *o, const row *r) {
    return (int64_t *)(void *)((char *)o + r->offset);
}

static char **text_of(const ew_options *o, const row *r) {
    return (char **)(void *)((char *)o + r->offset);
}

/* Copies every text of `from`, or of the defaults if that is NULL, to `o`. */
static bool copy_texts(ew_options *o, const ew_options *from) {
    for (size_t i = 0; i < ROWS; i++) {
        const row *r = &table[i];
        if (r->info.kind != EW_OPTION_TEXT)
            continue;
        *text_of(o, r) = strdup(from ? *text_of(from, r) : r->info.default_text);
        if (!*text_of(o, r))
            return false;
    }
    return true;
}

static ew_options *make(const ew_options *from) {
    ew_options *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    for (size_t i = 0; i < ROWS; i++) {
        if (table[i].info.kind != EW_OPTION_TEXT)
            *number_of(o, &table[i]) = from ? *number_of(from, &table[i]) : table[i].info.default_number;
    }
    if (from)
        o->log = from->log;
    if (!copy_texts(o, from)) {
        ew_options_free(o);
        return NULL;
    }
    return o;
}

ew_options *ew_options_new(void) {
    return make(NULL);
}

ew_options *options_copy(const ew_options *o) {
    return make(o);
}

/* The text may have been a password. */
static void free_text(char *text) {
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void ew_options_free(ew_options *o) {
    if (!o)
        return;
    for (size_t i = 0; i < ROWS; i++) {
        if (table[i].info.kind == EW_OPTION_TEXT)
            free_text(*text_of(o, &table[i]));
    }
    free(o);
}

/* ---- setting ---- */

static int refuse(const row *r, const char *value, ew_error *err) {
    const ew_option_info *info = &r->info;
    switch (info->kind) {
    case EW_OPTION_INT:
        return ew_fail(err, EW_ERR_INVALID, "option %s: '%.100s' is not a decimal number from %lld to %lld", info->name,
                       value, (long long)info->min, (long long)info->max);
    case EW_OPTION_SWITCH:
        return ew_fail(err, EW_ERR_INVALID, "option %s: '%.100s' is neither on nor off", info->name, value);
    case EW_OPTION_CHOICE:
        return ew_fail(err, EW_ERR_INVALID, "option %s: '%.100s' is not one of %s", info->name, value, info->choices);
    default:
        return ew_fail(err, EW_ERR_INVALID, "option %s: '%.100s' is not a text", info->name, value);
    }
}

/* At most a minus sign, and digits: strtoll alone would also accept blanks, a plus sign and hexadecimal. */
static bool parse_number(const char *text, int64_t *out) {
    const char *digits = text + (text[0] == '-');
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    long long number = strtoll(text, NULL, 10);
    *out = number;
    return errno == 0;
}

static bool parse_switch(const char *text, int64_t *out) {
    static const char *const words[][2] = {{"off", "on"}, {"false", "true"}, {"no", "yes"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (int on = 0; on < 2; on++) {
            if (strcasecmp(text, words[i][on]) == 0) {
                *out = on;
                return true;
            }
        }
    }
    return false;
}

static bool parse_choice(const char *text, const char *choices, int64_t *out) {
    size_t len = strlen(text);
    int64_t position = 0;
    for (const char *word = choices;; position++) {
        size_t word_len = strcspn(word, "|");
        if (word_len == len && memcmp(word, text, len) == 0) {
            *out = position;
            return true;
        }
        if (word[word_len] == '\0')
            return false;
        word += word_len + 1;
    }
}

static bool parse(const row *r, const char *value, int64_t *out) {
    switch (r->info.kind) {
    case EW_OPTION_INT:
        return parse_number(value, out) && *out >= r->info.min && *out <= r->info.max;
    case EW_OPTION_SWITCH:
        return parse_switch(value, out);
    default:
        return parse_choice(value, r->info.choices, out);
    }
}

ew_status ew_options_set(ew_options *o, const char *name, const char *value, ew_error *err) {
    if (ARGUMENT_MISSING(o, err))
        return EW_ERR_INVALID;
    const row *r = find(name);
    if (!r)
        return ew_fail(err, EW_ERR_INVALID, "there is no option '%.100s'", name ? name : "");
    if (!value)
        return ew_fail(err, EW_ERR_INVALID, "option %s: a value is missing", r->info.name);
    if (r->info.kind == EW_OPTION_TEXT) {
        char *copy = strdup(value);
        if (!copy)
            return ew_fail(err, EW_ERR_NO_MEMORY, "option %s: out of memory", r->info.name);
        free_text(*text_of(o, r));
        *text_of(o, r) = copy;
        return EW_OK;
    }
    int64_t number;
    if (!parse(r, value, &number))
        return refuse(r, value, err);
    *number_of(o, r) = number;
    return EW_OK;
}

ew_status ew_options_set_int(ew_options *o, const char *name, int64_t value, ew_error *err) {
    if (ARGUMENT_MISSING(o, err))
        return EW_ERR_INVALID;
    const row *r = find(name);
    if (!r)
        return ew_fail(err, EW_ERR_INVALID, "there is no option '%.100s'", name ? name : "");
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    bool takes_number = r->info.kind == EW_OPTION_INT || r->info.kind == EW_OPTION_SWITCH;
    if (!takes_number || value < r->info.min || value > r->info.max)
        return refuse(r, text, err);
    *number_of(o, r) = value;
    return EW_OK;
}

ew_status ew_options_set_log(ew_options *o, ew_log_fn fn, void *arg, ew_log_level level) {
    if (ARGUMENT_MISSING(o, NULL))
        return EW_ERR_INVALID;
    o->log = (log_sink){fn, arg, level};
    return EW_OK;
}

/* ---- reading ---- */

int64_t ew_options_int(const ew_options *o, const char *name) {
    if (!o)
        return -1;
    const row *r = find(name);
    return r && r->info.kind != EW_OPTION_TEXT ? *number_of(o, r) : -1;
}

const char *ew_options_text(const ew_options *o, const char *name) {
    if (!o)
        return NULL;
    const row *r = find(name);
    return r && r->info.kind == EW_OPTION_TEXT ? *text_of(o, r) : NULL;
}
