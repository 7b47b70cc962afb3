/* Sets options with arbitrary names and values: an option is set to an allowed value, or it is refused with a text and
 * unchanged. The input has lines name=value; a name that starts with a digit selects that row of the table. */
#include "core/check.h"
#include "core/options_internal.h"

static const ew_option_info *row_of(const char *name) {
    for (size_t i = 0; ew_option_at(i); i++) {
        if (strcmp(ew_option_at(i)->name, name) == 0)
            return ew_option_at(i);
    }
    return NULL;
}

static void check_number(const ew_options *o, const ew_option_info *row) {
    int64_t number = ew_options_int(o, row->name);
    if (row->kind == EW_OPTION_INT)
        CHECK(number >= row->min && number <= row->max);
    if (row->kind == EW_OPTION_SWITCH)
        CHECK(number == 0 || number == 1);
    if (row->kind != EW_OPTION_CHOICE)
        return;
    int64_t words = 1;
    for (const char *c = row->choices; *c != '\0'; c++)
        words += *c == '|';
    CHECK(number >= 0 && number < words);
}

static void set(ew_options *o, const char *name, const char *value) {
    if (name[0] >= '0' && name[0] <= '9') {
        const ew_option_info *row = ew_option_at((size_t)atoi(name) % 64);
        name = row ? row->name : name;
    }
    const ew_option_info *row = row_of(name);
    ew_error err = {0};
    int64_t before = ew_options_int(o, name);
    int status = ew_options_set(o, name, value, &err);
    if (status == EW_OK) {
        CHECK(row);
        if (row->kind == EW_OPTION_TEXT)
            CHECK(strcmp(ew_options_text(o, name), value) == 0);
        else
            check_number(o, row);
        return;
    }
    CHECK(status == EW_ERR_INVALID && err.code == status && err.detail[0] != '\0');
    CHECK(ew_options_int(o, name) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1), *rest = text, *line;
    ew_options *o = ew_options_new();
    CHECK(text && o);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    while ((line = strsep(&rest, "\n"))) {
        char *name = strsep(&line, "=");
        if (line)
            set(o, name, line);
    }
    ew_options *copy = options_copy(o);
    CHECK(copy);
    for (size_t i = 0; ew_option_at(i); i++)
        CHECK(ew_options_int(copy, ew_option_at(i)->name) == ew_options_int(o, ew_option_at(i)->name));
    ew_options_free(copy);
    ew_options_free(o);
    free(text);
    return 0;
}
