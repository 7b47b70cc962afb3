#include "service/assign_args.h"

#include <stdlib.h>

static const struct {
    const char *name;
    size_t offset;
    int64_t least, most, normal;
} known[] = {
    {"tolerance", offsetof(assign_args, tolerance), 0, 100, 20},
    {"budget", offsetof(assign_args, budget), 1, 1000, 100},
    {"grace", offsetof(assign_args, grace_s), 0, 86400, 0},
};
#define KNOWN (sizeof known / sizeof known[0])

static int64_t *member(assign_args *a, size_t i) {
    return (int64_t *)(void *)((char *)a + known[i].offset);
}

/* Accepts 1 to 9 digits. */
static bool parse_number(const char *text, int64_t *out) {
    size_t len = strlen(text);
    if (len == 0 || len > 9 || text[strspn(text, "0123456789")] != '\0')
        return false;
    *out = strtol(text, NULL, 10);
    return true;
}

static int parse_word(assign_args *out, bool *given, const char *word, ew_error *err) {
    size_t len = strcspn(word, "=");
    for (size_t i = 0; i < KNOWN; i++) {
        if (strlen(known[i].name) != len || memcmp(known[i].name, word, len) != 0)
            continue;
        int64_t number;
        if (given[i])
            return ew_fail(err, EW_ERR_INVALID, "option reactor_args: assign: %s is given twice", known[i].name);
        if (word[len] != '=' || !parse_number(word + len + 1, &number) || number < known[i].least ||
            number > known[i].most)
            return ew_fail(err, EW_ERR_INVALID,
                           "option reactor_args: assign: '%.80s': %s must be a whole number from %lld to %lld", word,
                           known[i].name, (long long)known[i].least, (long long)known[i].most);
        given[i] = true;
        *member(out, i) = number;
        return EW_OK;
    }
    return ew_fail(err, EW_ERR_INVALID,
                   "option reactor_args: assign: '%.80s' is unknown; expected tolerance=percent, budget=tasks or "
                   "grace=seconds",
                   word);
}

int assign_args_parse(assign_args *out, const char *text, ew_error *err) {
    bool given[KNOWN] = {false};
    for (size_t i = 0; i < KNOWN; i++)
        *member(out, i) = known[i].normal;
    char *copy = strdup(text), *rest;
    if (!copy)
        return ew_fail(err, EW_ERR_NO_MEMORY, "option reactor_args");
    int status = EW_OK;
    for (char *word = strtok_r(copy, ", \t", &rest); word && status == EW_OK; word = strtok_r(NULL, ", \t", &rest))
        status = parse_word(out, given, word, err);
    free(copy);
    return status;
}
