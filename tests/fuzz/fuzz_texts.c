/* Arbitrary text in the places where people write: a config file, a list of endpoints, and the JSON of assign's keys.
 * What is accepted is within limits and unchanged after it is written and read again. What is refused is refused with a
 * text. */
#include "core/check.h"
#include "etcd/targets.h"
#include "service/assign_json.h"
#include "service/config_file.h"
#include "service/settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a file ---- */

/* Creates a file in memory that can be opened by its path. */
static const char *write_file(const void *text, size_t size) {
    static char path[40];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("config", MFD_CLOEXEC);
        CHECK(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(pwrite(fd, text, size, 0) == (ssize_t)size);
    return path;
}

/* A text to which output is written, with what reads it. */
typedef struct text {
    FILE *out;
    char *start;
    size_t size;
} text;

static void text_open(text *t) {
    t->out = open_memstream(&t->start, &t->size);
    CHECK(t->out);
}

static void text_close(text *t) {
    CHECK(fclose(t->out) == 0);
}

/* ---- the lines of a config file ---- */

typedef struct lines {
    int last, count;
} lines;

static void check_trimmed(const char *word) {
    size_t len = strlen(word);
    CHECK(len == 0 || (!isspace((unsigned char)word[0]) && !isspace((unsigned char)word[len - 1])));
    CHECK(!strchr(word, '\n'));
}

static void on_line(void *arg, int line, const char *name, const char *value) {
    lines *l = arg;
    CHECK(line > l->last && name[0] != '\0');
    check_trimmed(name);
    check_trimmed(value);
    l->last = line;
    l->count++;
}

/* Returns 1 if a line is a setting or tries to be one, else 0. Negative: a comment that may be too long for a line. */
static int line_counts(const char *line, size_t len, bool first) {
    enum { SURELY_SHORT = 190 };
    size_t at = first && len >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    while (len > at && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    if (memchr(line, '\0', len))
        return 1;
    while (at < len && (line[at] == ' ' || line[at] == '\t'))
        at++;
    if (at == len || (line[at] != ';' && line[at] != '#'))
        return at < len;
    return len > SURELY_SHORT ? -1 : 0;
}

static int count_lines(const char *data, size_t size) {
    int count = 0;
    for (size_t at = 0, len; at < size; at += len) {
        const char *end = memchr(data + at, '\n', size - at);
        len = end ? (size_t)(end - data) + 1 - at : size - at;
        int counts = line_counts(data + at, len, at == 0);
        if (counts < 0)
            return counts;
        count += counts;
    }
    return count;
}

static void read_lines(const char *data, size_t size) {
    lines l = {0};
    text problems;
    int wanted = count_lines(data, size), reported = 0;
    const char *path = write_file(data, size);
    text_open(&problems);
    int bad = config_file_read(path, on_line, &l, problems.out);
    text_close(&problems);
    CHECK(bad >= 0 && (wanted < 0 || l.count + bad == wanted)); /* each line is accepted or reported */
    for (const char *p = problems.start; *p; p = strchr(p, '\n') + 1) {
        CHECK(strncmp(p, path, strlen(path)) == 0);
        reported++;
    }
    CHECK(reported == bad);
    free(problems.start);
}

/* ---- all options ---- */

static int load(settings *s, const char *path, char **environment, text *problems) {
    char *argv[] = {(char *)(uintptr_t) "etcdworkerd", (char *)(uintptr_t) "--config", (char *)(uintptr_t)path, NULL};
    text_open(problems);
    int status = settings_load(s, 3, argv, environment, problems->out);
    text_close(problems);
    CHECK(status == EXIT_DONE || status == EXIT_CONFIG);
    CHECK(status == EXIT_DONE || problems->size > 0);
    return status;
}

static bool is_comment(const char *printed, const char *name) {
    char head[100];
    snprintf(head, sizeof head, "\n# %s =", name);
    return strstr(printed, head);
}

/* Secrets, and values from other sources that do not fit into a line, are printed as comments. */
static void check_same(const settings *a, const settings *b, const char *printed) {
    const ew_option_info *row;
    for (size_t i = 0; (row = ew_option_at(i)); i++) {
        const char *name = row->name;
        if (row->kind != EW_OPTION_TEXT)
            CHECK(ew_options_int(a->options, name) == ew_options_int(b->options, name));
        else if (!is_comment(printed, name))
            CHECK(strcmp(ew_options_text(a->options, name), ew_options_text(b->options, name)) == 0);
        else
            CHECK(settings_is_secret(name) || settings_source_of(a, name) == SOURCE_ENVIRONMENT);
    }
}

/* What --check-config prints must be a valid config file. */
static void check_printed(const settings *s) {
    settings again;
    text printed, problems;
    text_open(&printed);
    settings_print_effective(printed.out, s);
    text_close(&printed);
    CHECK(load(&again, write_file(printed.start, printed.size), NULL, &problems) == EXIT_DONE);
    CHECK(problems.size == 0);
    check_same(s, &again, printed.start);
    settings_fini(&again);
    free(problems.start);
    free(printed.start);
}

/* The input is the file, a NUL, and the environment variables, each ended by a NUL. */
static void read_settings(const char *data, size_t size) {
    enum { VARIABLES_MAX = 8, SHORT = 1000 /* so that no printed line is too long */ };
    char *environment[VARIABLES_MAX + 1], *copy = malloc(size + 1), *end = copy + size;
    size_t count = 0;
    CHECK(copy);
    if (size > 0)
        memcpy(copy, data, size);
    *end = '\0';
    size_t file = strlen(copy);
    for (char *at = copy + file + 1; at < end && count < VARIABLES_MAX; at += strlen(at) + 1)
        environment[count++] = at;
    environment[count] = NULL;
    settings s;
    text problems;
    int status = load(&s, write_file(copy, file), environment, &problems);
    if (status == EXIT_DONE && size < SHORT)
        check_printed(&s);
    settings_fini(&s);
    free(problems.start);
    free(copy);
}

/* ---- endpoints ---- */

static void check_endpoint(const endpoint *e) {
    unsigned char address[sizeof(struct in6_addr)];
    CHECK(e->host[0] != '\0' && memchr(e->host, '\0', sizeof e->host) && !strchr(e->host, ','));
    CHECK(e->address_count == 0 && !e->addresses && !(e->tls && e->plain));
    if (e->kind == ENDPOINT_UNIX)
        CHECK(e->host[0] == '/');
    else
        CHECK(e->port >= 1 && e->port <= 65535);
    if (e->kind == ENDPOINT_IPV4)
        CHECK(inet_pton(AF_INET, e->host, address) == 1);
    if (e->kind == ENDPOINT_IPV6)
        CHECK(inet_pton(AF_INET6, e->host, address) == 1);
    if (e->kind == ENDPOINT_NAME)
        CHECK(inet_pton(AF_INET, e->host, address) != 1 && !strpbrk(e->host, " \t:/@[]"));
}

static void write_endpoint(FILE *out, const endpoint *e) {
    const char *scheme = e->tls ? "https://" : e->plain ? "http://" : "";
    if (e->kind == ENDPOINT_UNIX)
        fprintf(out, "unix://%s,", e->host);
    else
        fprintf(out, e->kind == ENDPOINT_IPV6 ? "%s[%s]:%d," : "%s%s:%d,", scheme, e->host, e->port);
}

/* An endpoint's channel target is a URI: no character in it may end it or begin another part. */
static void check_targets(const endpoints *e) {
    targets t;
    CHECK(targets_init(&t, e));
    CHECK(t.count <= e->count);
    for (size_t i = 0; i < t.count; i++) {
        for (const char *c = t.list[i].uri; *c; c++)
            CHECK(isgraph((unsigned char)*c) && !strchr("?#[]\\\"<>", *c));
    }
    CHECK((t.unknown[0] != '\0') == e->named);
    targets_fini(&t);
}

static void check_same_endpoints(const endpoints *a, const endpoints *b) {
    CHECK(a->count == b->count && a->tls == b->tls && a->plain == b->plain && a->named == b->named);
    for (size_t i = 0; i < a->count; i++) {
        const endpoint *x = &a->list[i], *y = &b->list[i];
        CHECK(x->kind == y->kind && x->port == y->port && x->tls == y->tls && x->plain == y->plain);
        CHECK(strcmp(x->host, y->host) == 0);
    }
}

static void read_endpoints(const char *data) {
    ew_error err = {0};
    endpoints e, again;
    int status = endpoints_init(&e, data, &err);
    if (status != EW_OK) {
        CHECK(status == EW_ERR_INVALID && err.code == status && err.detail[0] != '\0');
        CHECK(!e.list && e.count == 0);
        return;
    }
    CHECK(e.count > 0 && !(e.tls && e.plain));
    text written;
    text_open(&written);
    for (size_t i = 0; i < e.count; i++) {
        check_endpoint(&e.list[i]);
        CHECK((!e.list[i].tls || e.tls) && (!e.list[i].plain || e.plain));
        write_endpoint(written.out, &e.list[i]);
    }
    text_close(&written);
    check_targets(&e);
    CHECK(endpoints_init(&again, written.start, &err) == EW_OK);
    check_same_endpoints(&e, &again);
    endpoints_fini(&again);
    endpoints_fini(&e);
    free(written.start);
}

/* ---- JSON ---- */

static bool has_problem(const assign_problem *p) {
    CHECK(memchr(p->text, '\0', sizeof p->text));
    for (const char *c = p->text; *c; c++)
        CHECK(isprint((unsigned char)*c));
    return p->text[0] != '\0';
}

static void check_named(ew_slice id) {
    assign_problem problem;
    char *json = assign_json_assignment(id);
    CHECK(json);
    char *named = assign_json_member(ew_str(json), &problem);
    CHECK(named && !has_problem(&problem) && ew_slice_equal(ew_str(named), id));
    free(named);
    free(json);
}

static void read_json(ew_slice value) {
    enum { MIN = 1, MAX = 1000000, FALLBACK = -7 };
    assign_problem problem;
    int64_t number = FALLBACK;
    CHECK(assign_json_number(value, "weight", MIN, MAX, &number, &problem) == EW_OK);
    CHECK(number == FALLBACK || (number >= MIN && number <= MAX && !has_problem(&problem)));
    CHECK(value.len > 0 || !has_problem(&problem));
    char *member = assign_json_member(value, &problem);
    CHECK(member);
    if (has_problem(&problem))
        CHECK(member[0] == '\0');
    else
        check_named(ew_str(member));
    free(member);
    int status = assign_json_can_name(value);
    CHECK(status == EW_OK || status == EW_ERR_INVALID);
    if (status == EW_OK)
        check_named(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    char *rest = malloc(size); /* ends with a NUL */
    CHECK(rest);
    memcpy(rest, data + 1, size - 1);
    rest[size - 1] = '\0';
    switch (data[0] % 4) {
    case 0:
        read_endpoints(rest);
        break;
    case 1:
        read_lines(rest, size - 1);
        break;
    case 2:
        read_settings(rest, size - 1);
        break;
    default:
        read_json((ew_slice){data + 1, size - 1});
    }
    free(rest);
    return 0;
}
