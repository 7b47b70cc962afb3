#include "service/log_writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_BYTES = 1 << 18, END_MS = 1000 };

/* The thread's output. */
typedef struct outlet {
    int fd, give_up;
    bool torn; /* the last byte written is not the end of a line */
} outlet;

static struct {
    pthread_mutex_t lock; /* for all members below */
    pthread_cond_t changed;
    bool made; /* `changed` is initialised */
    bool running, closing;
    pthread_t thread;
    int fd, give_up; /* give_up: an eventfd; readable: remaining lines must not be written */
    log_note_fn note;

    /* The queue: complete lines in a ring buffer. */
    char bytes[QUEUE_BYTES];
    size_t begin, used;
    bool idle;    /* the thread waits for a line */
    bool writing; /* the thread has taken lines and not yet written them */

    bool gap;            /* the queue was full: lines are dropped until half of it is free */
    uint64_t unreported; /* lines dropped since the last note */
    uint64_t dropped;
} w = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the queue; all functions need the lock ---- */

static void drop(uint64_t lines) {
    w.unreported += lines;
    w.dropped += lines;
}

static void append(const char *line, size_t len) {
    size_t end = (w.begin + w.used) % QUEUE_BYTES, first = QUEUE_BYTES - end;
    first = len < first ? len : first;
    memcpy(w.bytes + end, line, first);
    memcpy(w.bytes, line + first, len - first);
    w.used += len;
    if (w.idle)
        pthread_cond_broadcast(&w.changed);
}

/* Queues the note in place of the dropped lines, once half of the queue is free. */
static void close_gap(void) {
    char line[LOG_LINE_BYTES];
    if (w.unreported == 0 || w.used > QUEUE_BYTES / 2)
        return;
    append(line, w.note(line, w.unreported));
    w.unreported = 0;
    w.gap = false;
}

/* Takes as many complete lines from the queue as one write may have; returns their length. */
static size_t take(char out[LOG_LINE_BYTES]) {
    size_t len = w.used < LOG_LINE_BYTES ? w.used : LOG_LINE_BYTES, first = QUEUE_BYTES - w.begin;
    first = len < first ? len : first;
    memcpy(out, w.bytes + w.begin, first);
    memcpy(out + first, w.bytes, len - first);
    while (len > 0 && out[len - 1] != '\n')
        len--;
    w.begin = (w.begin + len) % QUEUE_BYTES;
    w.used -= len;
    return len;
}

static uint64_t count_lines(const char *text, size_t len) {
    uint64_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += text[i] == '\n';
    return count;
}

/* ---- the thread ---- */

/* Waits until the descriptor is writable or has an error; returns false if `give_up` is readable. So the thread waits
 * here, where it can be interrupted, and hardly ever inside write(2). */
static bool wait_for_space(int fd, int give_up) {
    struct pollfd fds[] = {{.fd = fd, .events = POLLOUT}, {.fd = give_up, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        ;
    return fds[1].revents == 0;
}

/* Returns how many bytes were written. */
static size_t write_all(const outlet *o, const char *text, size_t len) {
    size_t done = 0;
    while (done < len && wait_for_space(o->fd, o->give_up)) {
        ssize_t n = write(o->fd, text + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || (errno != EINTR && errno != EAGAIN)) /* EAGAIN: another process has set O_NONBLOCK */
            break;
    }
    return done;
}

/* Returns how many lines were lost. */
static uint64_t write_lines(outlet *o, const char *text, size_t len) {
    if (o->torn && write_all(o, "\n", 1) == 1)
        o->torn = false;
    size_t done = o->torn ? 0 : write_all(o, text, len);
    o->torn = o->torn || (done > 0 && text[done - 1] != '\n');
    return count_lines(text + done, len - done);
}

static void *run(void *arg) {
    char text[LOG_LINE_BYTES];
    (void)arg;
    pthread_mutex_lock(&w.lock);
    outlet out = {.fd = w.fd, .give_up = w.give_up};
    for (;;) {
        size_t len = take(text);
        if (len == 0 && w.closing)
            break;
        if (len == 0) {
            w.idle = true;
            pthread_cond_wait(&w.changed, &w.lock);
            w.idle = false;
            continue;
        }
        w.writing = true;
        pthread_mutex_unlock(&w.lock);
        uint64_t lost = write_lines(&out, text, len);
        pthread_mutex_lock(&w.lock);
        w.writing = false;
        drop(lost);
        if (lost == 0)
            close_gap();
        pthread_cond_broadcast(&w.changed);
    }
    pthread_mutex_unlock(&w.lock);
    return NULL;
}

/* ---- start and end ---- */

static int make_condition(void) {
    pthread_condattr_t how;
    int problem = pthread_condattr_init(&how);
    if (problem == 0)
        problem = pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
    if (problem == 0)
        problem = pthread_cond_init(&w.changed, &how);
    w.made = problem == 0;
    pthread_condattr_destroy(&how);
    return problem;
}

/* Starts the thread with all signals blocked: the process's first thread handles them. */
static int start_thread(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int problem = pthread_create(&w.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return problem;
}

int log_writer_start(int fd, log_note_fn note, ew_error *err) {
    pthread_mutex_lock(&w.lock);
    int problem = w.running ? EBUSY : w.made ? 0 : make_condition();
    if (problem == 0) {
        w.fd = fd;
        w.give_up = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        w.note = note;
        w.closing = w.idle = w.writing = w.gap = false;
        w.unreported = 0;
        w.begin = w.used = 0;
        problem = w.give_up < 0 ? errno : start_thread();
        w.running = problem == 0;
        if (!w.running && w.give_up >= 0)
            close(w.give_up);
    }
    pthread_mutex_unlock(&w.lock);
    return problem == 0 ? EW_OK : ew_fail(err, EW_ERR_SYSTEM, "cannot start the log thread: %s", strerror(problem));
}

void log_writer_put(const char *line, size_t len) {
    pthread_mutex_lock(&w.lock);
    if (w.gap)
        close_gap();
    w.gap = w.gap || w.used + len > QUEUE_BYTES;
    if (w.gap || !w.running || w.closing)
        drop(1);
    else
        append(line, len);
    pthread_mutex_unlock(&w.lock);
}

uint64_t log_writer_dropped(void) {
    pthread_mutex_lock(&w.lock);
    uint64_t dropped = w.dropped;
    pthread_mutex_unlock(&w.lock);
    return dropped;
}

static struct timespec deadline(clockid_t clock, int timeout_ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += timeout_ms / 1000;
    t.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Needs the lock. Waits until all lines are written; returns false on a timeout. */
static bool drain(int timeout_ms) {
    struct timespec until = deadline(CLOCK_MONOTONIC, timeout_ms);
    int problem = 0;
    while (w.running && (w.used > 0 || w.writing) && problem == 0)
        problem = pthread_cond_timedwait(&w.changed, &w.lock, &until);
    return w.used == 0 && !w.writing;
}

void log_writer_flush(int timeout_ms) {
    pthread_mutex_lock(&w.lock);
    drain(timeout_ms);
    pthread_mutex_unlock(&w.lock);
}

void log_writer_stop(int timeout_ms) {
    pthread_mutex_lock(&w.lock);
    bool running = w.running, drained = drain(timeout_ms);
    if (!drained)
        w.begin = w.used = 0;
    w.closing = true;
    if (w.made)
        pthread_cond_broadcast(&w.changed);
    pthread_mutex_unlock(&w.lock);
    if (!running)
        return;
    uint64_t one = 1;
    if (!drained && write(w.give_up, &one, sizeof one) < 0)
        return; /* cannot happen: a count of 1 always fits */
    /* A write to a failed disk or a stopped terminal may not return. Then the process ends without joining the thread.
     */
    struct timespec until = deadline(CLOCK_REALTIME, END_MS);
    bool over = pthread_timedjoin_np(w.thread, NULL, &until) == 0;
    pthread_mutex_lock(&w.lock);
    w.running = !over;
    pthread_mutex_unlock(&w.lock);
    if (over)
        close(w.give_up);
}
