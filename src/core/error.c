#include <etcdworker/error.h>

#include <stdarg.h>
#include <stdio.h>

const char *ew_strerror(int code) {
    switch (code) {
    case EW_OK:
        return "no error";
#define TEXT_CASE(name, value, text)                                                                                   \
    case name:                                                                                                         \
        return text;
        EW_ERRORS(TEXT_CASE)
#undef TEXT_CASE
    default:
        return "unknown error";
    }
}

const char *ew_errname(int code) {
    switch (code) {
    case EW_OK:
        return "EW_OK";
#define NAME_CASE(name, value, text)                                                                                   \
    case name:                                                                                                         \
        return #name;
        EW_ERRORS(NAME_CASE)
#undef NAME_CASE
#define NAME_CASE(name, value)                                                                                         \
    case name:                                                                                                         \
        return #name;
        EW_ANSWERS(NAME_CASE)
#undef NAME_CASE
    default:
        return "EW_ERR_?";
    }
}

bool ew_is_retryable(int code) {
    return code == EW_ERR_TIMEOUT || code == EW_ERR_UNAVAILABLE || code == EW_ERR_BUSY || code == EW_ERR_NO_SPACE;
}

ew_status ew_fail(ew_error *err, ew_status code, const char *format, ...) {
    if (err) {
        /* Not directly into `detail`, because the arguments may contain the text that is there now. */
        char text[sizeof err->detail];
        va_list arguments;
        va_start(arguments, format);
        int length = vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        err->code = code;
        snprintf(err->detail, sizeof err->detail, "%s", length < 0 ? "" : text);
    }
    return code;
}
