#include "service/demo_board.h"
#include "service/assign_json.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* More than the demo makes: a curious user may add some by hand. What is beyond is followed by `assign` all the same,
 * only not shown. */
enum { MEMBERS = 8, TASKS = 48, NAME = 16, HISTORY = 6, LINE = 200, NEW_MS = 2500 };

typedef struct holder {
    char name[NAME];
    bool live;
} holder;

typedef struct work {
    char name[NAME];
    bool exists;
    int holder; /* -1: nobody */
    int64_t moved_ms;
} work;

struct demo_board {
    char *prefix, *endpoint;
    bool terminal, color;
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

demo_board *demo_board_new(const char *prefix, const char *endpoint) {
    demo_board *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->prefix = strdup(prefix);
    b->endpoint = strdup(endpoint);
    const char *type = getenv("TERM");
    b->terminal = isatty(STDOUT_FILENO) && type && strcmp(type, "dumb") != 0;
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

/* ---- what happened ---- */

/* Everything of one revision is one line: that is how it was committed. */
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

/* The id as a name to show, if the key lies in the folder. */
static bool name_in(const demo_board *b, ew_slice key, const char *folder, char name[NAME]) {
    char start[300];
    int len = snprintf(start, sizeof start, "%s%s", b->prefix, folder);
    if (len >= (int)sizeof start || key.len <= (size_t)len || memcmp(key.data, start, (size_t)len) != 0)
        return false;
    size_t rest = key.len - (size_t)len;
    snprintf(name, NAME, "%.*s", (int)(rest < NAME ? rest : NAME - 1), (const char *)key.data + len);
    for (char *c = name; *c; c++) {
        if (*c < ' ' || *c > '~')
            *c = '?'; /* nothing in a key may steer the terminal */
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

/* Tasks stand in the order of their names. */
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

typedef struct canvas {
    char text[16384];
    size_t len;
    int width, column; /* of the terminal; where the pen is */
    bool color;
} canvas;

static void raw(canvas *c, const char *text) {
    size_t len = strlen(text);
    if (c->len + len < sizeof c->text) {
        memcpy(c->text + c->len, text, len);
        c->len += len;
    }
}

static void style(canvas *c, const char *code) {
    if (c->color)
        raw(c, code);
}

/* Text at the pen, cut at the right edge. */
__attribute__((format(printf, 2, 3))) static void put(canvas *c, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int room = c->width - c->column;
    if (room < 0)
        room = 0;
    if ((int)strlen(text) > room)
        text[room] = '\0';
    c->column += (int)strlen(text);
    raw(c, text);
}

static void end_line(canvas *c) {
    style(c, "\x1b[0m");
    raw(c, "\x1b[K\n");
    c->column = 0;
}

#define BOLD  "\x1b[1m"
#define FAINT "\x1b[2m"
#define PLAIN "\x1b[0m"

static const char *const colors[MEMBERS] = {"\x1b[36m", "\x1b[33m", "\x1b[35m", "\x1b[32m",
                                            "\x1b[34m", "\x1b[31m", "\x1b[37m", "\x1b[96m"};

static void draw_task(canvas *c, const demo_board *b, const work *t, int member) {
    bool is_new = b->now_ms - t->moved_ms < NEW_MS && t->moved_ms > 0;
    put(c, " ");
    style(c, colors[member]);
    style(c, is_new ? "\x1b[7m" : "");
    put(c, is_new ? "[%s]" : " %s ", t->name);
    style(c, PLAIN);
}

static void draw_member(canvas *c, const demo_board *b, int member) {
    int held = 0;
    for (size_t i = 0; i < b->task_count; i++)
        held += b->tasks[i].exists && b->tasks[i].holder == member;
    const holder *m = &b->members[member];
    style(c, m->live ? BOLD : FAINT);
    style(c, m->live ? colors[member] : "");
    put(c, "  %-8s", m->name);
    style(c, PLAIN);
    if (m->live)
        put(c, "%3d tasks ", held);
    else if (held > 0)
        put(c, "   gone; its tasks are being given to others ");
    else
        style(c, FAINT), put(c, "   gone");
    for (size_t i = 0; i < b->task_count; i++) {
        if (b->tasks[i].exists && b->tasks[i].holder == member)
            draw_task(c, b, &b->tasks[i], member);
    }
    end_line(c);
}

static void draw_waiting(canvas *c, const demo_board *b) {
    put(c, "  %-8s", "nobody");
    for (size_t i = 0; i < b->task_count; i++) {
        if (b->tasks[i].exists && b->tasks[i].holder < 0)
            put(c, "  %s", b->tasks[i].name);
    }
    end_line(c);
}

static void draw_history(canvas *c, const demo_board *b) {
    style(c, BOLD);
    put(c, "  Last changes");
    end_line(c);
    for (int i = 0; i < HISTORY; i++) {
        if (b->history[i].revision > 0) {
            style(c, i == 0 ? "" : FAINT);
            put(c, "  revision %-6" PRId64 " %s", b->history[i].revision, b->history[i].text);
        }
        end_line(c);
    }
}

static void draw_head(canvas *c, const demo_board *b, int64_t revision, uint64_t ticks) {
    int64_t seconds = (b->now_ms - b->started_ms) / 1000;
    style(c, BOLD);
    put(c, "etcdworkerd demo");
    style(c, PLAIN);
    put(c, "    revision %" PRId64 "    tick %" PRIu64 "    %02" PRId64 ":%02" PRId64, revision, ticks, seconds / 60,
        seconds % 60);
    end_line(c);
    end_line(c);
    put(c, "  Members come and go. The reactor `assign` gives every task one live member, evenly,");
    end_line(c);
    put(c, "  and moves no task that can stay. What has just moved is marked.");
    end_line(c);
    end_line(c);
}

static void draw_foot(canvas *c, const demo_board *b, const char *next) {
    end_line(c);
    style(c, BOLD);
    put(c, "  Next: ");
    style(c, PLAIN);
    put(c, "%s", next);
    end_line(c);
    end_line(c);
    style(c, FAINT);
    put(c, "  All of this is keys in etcd. In another terminal:");
    end_line(c);
    style(c, FAINT);
    put(c, "    etcdctl --endpoints %s get --prefix %s/", b->endpoint, b->prefix);
    end_line(c);
    style(c, FAINT);
    put(c, "    etcdctl --endpoints %s put %s/tasks/mine '{\"weight\":3}'", b->endpoint, b->prefix);
    end_line(c);
    end_line(c);
    style(c, BOLD);
    put(c, "  Ctrl-C ends it.");
    end_line(c);
}

static void show(const canvas *c) {
    for (size_t done = 0; done < c->len;) {
        ssize_t wrote = write(STDOUT_FILENO, c->text + done, c->len - done);
        if (wrote <= 0)
            return; /* nobody looks any more */
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
    canvas c = {.width = 100, .color = b->color};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        c.width = size.ws_col;
    raw(&c, atomic_exchange(&drawn_on, true) ? "\x1b[H" : "\x1b[?25l\x1b[2J\x1b[H");
    draw_head(&c, b, revision, ticks);
    bool waiting = false;
    for (size_t i = 0; i < b->task_count; i++)
        waiting = waiting || (b->tasks[i].exists && b->tasks[i].holder < 0);
    for (size_t i = 0; i < b->member_count; i++)
        draw_member(&c, b, (int)i);
    if (waiting)
        draw_waiting(&c, b);
    end_line(&c);
    draw_history(&c, b);
    draw_foot(&c, b, next);
    raw(&c, "\x1b[J");
    show(&c);
}

void demo_board_restore_terminal(void) {
    static const char back[] = "\x1b[0m\x1b[?25h\n";
    struct pollfd terminal = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (!atomic_exchange(&drawn_on, false) || poll(&terminal, 1, 0) <= 0) /* a stopped one would hold up our end */
        return;
    ssize_t written = write(STDOUT_FILENO, back, sizeof back - 1);
    (void)written;
}
