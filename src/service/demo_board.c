#include "service/demo_board.h"
#include "service/assign_json.h"
#include "service/demo_canvas.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* More than the demo creates, because a user may add keys with etcdctl. `assign` also handles the members and tasks
 * above these limits, but the board does not show them. */
enum { MEMBERS = 8, TASKS = 48, NAME = 16, HISTORY = 6, LINE = 200, NEW_MS = 2500 };

typedef struct holder {
    char name[NAME];
    bool live;
} holder;

typedef struct work {
    char name[NAME];
    bool exists;
    int holder; /* index into `members`; -1: none */
    int64_t moved_ms;
} work;

struct demo_board {
    char *prefix, *endpoint;
    const char *end_key;
    bool terminal, color;
    int rows, columns; /* of the terminal, when it was last sampled on */
    int64_t now_ms, started_ms;
    holder members[MEMBERS];
    work tasks[TASKS];
    size_t member_count, task_count;
    struct {
        int64_t revision;
        char text[LINE];
    } history[HISTORY]; /* the newest first */
};

static atomic_bool drawn_on;

bool demo_board_in_place(void) {
    const char *type = getenv("TERM");
    return isatty(STDOUT_FILENO) && type && strcmp(type, "dumb") != 0;
}

demo_board *demo_board_new(const char *prefix, const char *endpoint, const char *end_key) {
    demo_board *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->prefix = strdup(prefix);
    b->endpoint = strdup(endpoint);
    b->end_key = end_key;
    b->terminal = demo_board_in_place();
    b->color = b->terminal && !getenv("NO_COLOR");
    if (b->prefix && b->endpoint)
        return b;
    demo_board_free(b);
    return NULL;
}

void demo_board_free(demo_board *b) {
    if (!b)
        return;
    demo_board_restore_terminal();
    free(b->prefix);
    free(b->endpoint);
    free(b);
}

/* ---- events ---- */

/* Adds a change to the history. All changes of one revision are one line, since they were one commit. */
__attribute__((format(printf, 3, 4))) static void tell(demo_board *b, int64_t revision, const char *format, ...) {
    char text[LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!b->terminal) {
        printf("revision %" PRId64 ": %s\n", revision, text);
        fflush(stdout);
        return;
    }
    if (b->history[0].revision != revision) {
        memmove(b->history + 1, b->history, sizeof b->history - sizeof b->history[0]);
        b->history[0].revision = revision;
        snprintf(b->history[0].text, LINE, "%s", text);
        return;
    }
    size_t len = strlen(b->history[0].text);
    snprintf(b->history[0].text + len, LINE - len, ", %s", text);
}

/* Writes the id as a displayable name, if the key is <prefix><folder><id>; otherwise returns false. */
static bool name_in(const demo_board *b, ew_slice key, const char *folder, char name[NAME]) {
    char start[300];
    int len = snprintf(start, sizeof start, "%s%s", b->prefix, folder);
    if (len >= (int)sizeof start || key.len <= (size_t)len || memcmp(key.data, start, (size_t)len) != 0)
        return false;
    size_t rest = key.len - (size_t)len;
    snprintf(name, NAME, "%.*s", (int)(rest < NAME ? rest : NAME - 1), (const char *)key.data + len);
    for (char *c = name; *c; c++) {
        if (*c < ' ' || *c > '~')
            *c = '?'; /* bytes of a key must not control the terminal */
    }
    return true;
}

static int member_of(demo_board *b, const char *name) {
    for (size_t i = 0; i < b->member_count; i++) {
        if (strcmp(b->members[i].name, name) == 0)
            return (int)i;
    }
    if (b->member_count == MEMBERS)
        return -1;
    snprintf(b->members[b->member_count].name, NAME, "%s", name);
    return (int)b->member_count++;
}

/* Returns the task, added if it is new; NULL if the board is full. `tasks` is sorted by name. */
static work *task_of(demo_board *b, const char *name) {
    size_t at = 0;
    while (at < b->task_count && strcmp(b->tasks[at].name, name) < 0)
        at++;
    if (at < b->task_count && strcmp(b->tasks[at].name, name) == 0)
        return &b->tasks[at];
    if (b->task_count == TASKS)
        return NULL;
    memmove(b->tasks + at + 1, b->tasks + at, (b->task_count - at) * sizeof *b->tasks);
    b->task_count++;
    b->tasks[at] = (work){.holder = -1};
    snprintf(b->tasks[at].name, NAME, "%s", name);
    return &b->tasks[at];
}

static void on_member(demo_board *b, const ew_event *event, const char *name) {
    int i = member_of(b, name);
    bool live = event->kind == EW_EVENT_PUT;
    if (i < 0 || b->members[i].live == live)
        return;
    b->members[i].live = live;
    tell(b, event->entry.mod_revision, "%s %s", name, live ? "joined" : "is gone");
}

static void on_task(demo_board *b, const ew_event *event, const char *name) {
    work *t = task_of(b, name);
    bool exists = event->kind == EW_EVENT_PUT;
    if (!t || t->exists == exists)
        return;
    t->exists = exists;
    tell(b, event->entry.mod_revision, exists ? "new task %s" : "task %s is gone", name);
}

static bool on_assignment(demo_board *b, const ew_event *event, const char *name) {
    work *t = task_of(b, name);
    int to = -1;
    if (event->kind == EW_EVENT_PUT) {
        assign_problem problem;
        char *member = assign_json_member(event->entry.value, &problem);
        if (!member)
            return false;
        to = member_of(b, member);
        free(member);
    }
    if (!t || t->holder == to)
        return true;
    const char *before = t->holder < 0 ? "nobody" : b->members[t->holder].name;
    tell(b, event->entry.mod_revision, "%s %s->%s", name, before, to < 0 ? "nobody" : b->members[to].name);
    t->holder = to;
    t->moved_ms = b->now_ms;
    return true;
}

bool demo_board_update(demo_board *b, const ew_event *event) {
    char name[NAME];
    if (name_in(b, event->entry.key, "/members/", name))
        on_member(b, event, name);
    else if (name_in(b, event->entry.key, "/tasks/", name))
        on_task(b, event, name);
    else if (name_in(b, event->entry.key, "/assignments/", name))
        return on_assignment(b, event, name);
    return true;
}

/* ---- the picture ---- */

/* The ranks of lines, for a terminal with too few rows. */
enum { ALWAYS, NEWEST, EXPLANATION, COMMANDS, OLDER, EMPTY = OLDER + HISTORY };

#define BOLD  "\x1b[1m"
#define FAINT "\x1b[2m"
#define PLAIN "\x1b[0m"

static const char *const colors[MEMBERS] = {"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m",
                                            "\x1b[34m", "\x1b[31m", "\x1b[37m", "\x1b[96m"};

static void draw_task(canvas *c, const demo_board *b, const work *t, int member) {
    bool is_new = b->now_ms - t->moved_ms < NEW_MS && t->moved_ms > 0;
    canvas_put(c, " ");
    canvas_style(c, colors[member]);
    canvas_style(c, is_new ? "\x1b[7m" : "");
    canvas_put(c, is_new ? "[%s]" : " %s ", t->name);
    canvas_style(c, PLAIN);
}

static void draw_member(canvas *c, const demo_board *b, int member) {
    int held = 0;
    for (size_t i = 0; i < b->task_count; i++)
        held += b->tasks[i].exists && b->tasks[i].holder == member;
    const holder *m = &b->members[member];
    canvas_style(c, m->live ? BOLD : FAINT);
    canvas_style(c, m->live ? colors[member] : "");
    canvas_put(c, "  %-8s", m->name);
    canvas_style(c, PLAIN);
    if (m->live)
        canvas_put(c, "%3d tasks ", held);
    else if (held > 0)
        canvas_put(c, "   gone; its tasks are being reassigned ");
    else
        canvas_style(c, FAINT), canvas_put(c, "   gone");
    for (size_t i = 0; i < b->task_count; i++) {
        if (b->tasks[i].exists && b->tasks[i].holder == member)
            draw_task(c, b, &b->tasks[i], member);
    }
    canvas_end_line(c, ALWAYS);
}

static void draw_waiting(canvas *c, const demo_board *b) {
    canvas_put(c, "  %-8s", "nobody");
    for (size_t i = 0; i < b->task_count; i++) {
        if (b->tasks[i].exists && b->tasks[i].holder < 0)
            canvas_put(c, "  %s", b->tasks[i].name);
    }
    canvas_end_line(c, ALWAYS);
}

static void draw_members(canvas *c, const demo_board *b) {
    bool waiting = false;
    for (size_t i = 0; i < b->task_count; i++)
        waiting = waiting || (b->tasks[i].exists && b->tasks[i].holder < 0);
    for (size_t i = 0; i < b->member_count; i++)
        draw_member(c, b, (int)i);
    if (waiting)
        draw_waiting(c, b);
    canvas_end_line(c, EMPTY);
}

static void draw_history(canvas *c, const demo_board *b) {
    canvas_style(c, BOLD);
    canvas_put(c, "  Last changes");
    canvas_end_line(c, NEWEST);
    for (int i = 0; i < HISTORY; i++) {
        if (b->history[i].revision > 0) {
            canvas_style(c, i == 0 ? "" : FAINT);
            canvas_put(c, "  revision %-6" PRId64 " %s", b->history[i].revision, b->history[i].text);
        }
        canvas_end_line(c, i == 0 ? NEWEST : OLDER + i);
    }
    canvas_end_line(c, EMPTY);
}

/* The most important text is on the left, because a narrow terminal cuts the right. */
static void draw_head(canvas *c, const demo_board *b, int64_t revision, uint64_t ticks) {
    int64_t seconds = (b->now_ms - b->started_ms) / 1000;
    canvas_style(c, BOLD);
    canvas_put(c, "etcdworkerd demo");
    canvas_style(c, PLAIN);
    canvas_put(c, ": %s ends it.  %02" PRId64 ":%02" PRId64 "  revision %" PRId64 "  tick %" PRIu64, b->end_key,
               seconds / 60, seconds % 60, revision, ticks);
    canvas_end_line(c, ALWAYS);
    canvas_end_line(c, EMPTY);
    canvas_put(c, "  Members come and go. The reactor `assign` gives each task");
    canvas_end_line(c, EXPLANATION);
    canvas_put(c, "  one live member, evenly, and moves only what must move.");
    canvas_end_line(c, EXPLANATION);
    canvas_end_line(c, EMPTY);
}

static void draw_foot(canvas *c, const demo_board *b, const char *next) {
    canvas_style(c, BOLD);
    canvas_put(c, "  Next: ");
    canvas_style(c, PLAIN);
    canvas_put(c, "%s", next);
    canvas_end_line(c, ALWAYS);
    canvas_end_line(c, EMPTY);
    canvas_style(c, FAINT);
    canvas_put(c, "  All of this is stored in etcd keys. In another terminal:");
    canvas_end_line(c, COMMANDS);
    canvas_style(c, FAINT);
    canvas_put(c, "    export ETCDCTL_ENDPOINTS=%s", b->endpoint);
    canvas_end_line(c, COMMANDS);
    canvas_style(c, FAINT);
    canvas_put(c, "    etcdctl get --prefix %s/", b->prefix);
    canvas_end_line(c, COMMANDS);
    canvas_style(c, FAINT);
    canvas_put(c, "    etcdctl put %s/tasks/mine '{\"weight\":3}'", b->prefix);
    canvas_end_line(c, COMMANDS);
}

/* Writes a frame. If the terminal takes no output now (Ctrl-S), the frame is left out, so that the reactor does not
 * wait. */
static void show(const char *text, size_t len) {
    struct pollfd terminal = {.fd = STDOUT_FILENO, .events = POLLOUT};
    for (size_t done = 0; done < len && poll(&terminal, 1, 0) > 0;) {
        ssize_t wrote = write(STDOUT_FILENO, text + done, len - done);
        if (wrote <= 0)
            return; /* the terminal is closed */
        done += (size_t)wrote;
    }
}

void demo_board_draw(demo_board *b, int64_t revision, uint64_t ticks, int64_t now_ms, const char *next) {
    b->now_ms = now_ms;
    if (b->started_ms == 0)
        b->started_ms = now_ms;
    if (!b->terminal)
        return;
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    canvas c;
    canvas_init(&c, size.ws_col, b->color);
    draw_head(&c, b, revision, ticks);
    draw_members(&c, b);
    draw_history(&c, b);
    draw_foot(&c, b, next);
    bool resized = size.ws_row != b->rows || size.ws_col != b->columns;
    b->rows = size.ws_row;
    b->columns = size.ws_col;
    bool first = !atomic_exchange(&drawn_on, true);
    char text[2 * sizeof c.text];
    size_t len = (size_t)snprintf(text, sizeof text, "%s%s\x1b[H", first ? "\x1b[?25l" : "", resized ? "\x1b[2J" : "");
    len += canvas_write(&c, size.ws_row, text + len, sizeof text - len);
    show(text, len);
}

void demo_board_restore_terminal(void) {
    static const char back[] = "\x1b[0m\x1b[?25h\n";
    struct pollfd terminal = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (!atomic_exchange(&drawn_on, false) || poll(&terminal, 1, 0) <= 0) /* a stopped terminal would block the exit */
        return;
    ssize_t written = write(STDOUT_FILENO, back, sizeof back - 1);
    (void)written;
}
