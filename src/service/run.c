#include "service/run.h"
#include "service/campaign.h"
#include "service/chosen.h"
#include "service/demo.h"
#include "service/dev_etcd.h"
#include "service/http.h"
#include "service/logger.h"
#include "service/settings_check.h"
#include "service/signals.h"

#include <errno.h>
#include <etcdworker/process.h>
#include <etcdworker/version.h>
#include <etcdworker/worker.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

typedef struct run {
    const settings *settings;
    ew_options *options;
    const char *name;
    sigset_t stop_signals;
    int signals, ended; /* file descriptors: the signalfd; an eventfd that is readable when the worker has ended */
    dev_etcd *dev;
    bool dev_lost; /* the private etcd has exited by itself */
    chosen chosen;
    demo *demo;
    ew_client *client; /* the worker's */
    ew_worker *worker;
    http *http;
    campaign *campaign; /* NULL: no election is needed */
    bool launched;      /* the worker runs, or has run */
    pthread_t waiter;
    int lost; /* why the leadership was lost, or EW_OK */
    ew_error lost_err;
    int status; /* with which the worker ended */
    ew_error err;
    bool stopping;
} run;

/* ---- exit statuses ---- */

static int exit_code(int status) {
    switch (status) {
    case EW_OK:
    case EW_ERR_CANCELLED:
        return EXIT_DONE;
    case EW_ERR_UNAVAILABLE:
    case EW_ERR_TIMEOUT:
    case EW_ERR_BUSY:
    case EW_ERR_NO_SPACE:
    case EW_ERR_SESSION_DONE:
    case EW_ERR_LEADERSHIP_LOST:
    case EW_ERR_UNKNOWN_OUTCOME:
    case EW_ERR_COMPACTED: /* faster than the prefix can be loaded */
        return EXIT_TEMPORARY;
    case EW_ERR_INVALID:
    case EW_ERR_DENIED:
    case EW_ERR_UNAUTHENTICATED:
        return EXIT_CONFIG;
    case EW_ERR_SYSTEM:
        return EXIT_SYSTEM;
    default:
        return EXIT_FAILED;
    }
}

static int give_up(const run *r, int status, const ew_error *err) {
    log_fields(EW_LOG_ERROR, LOG_NAMED(r->name), "service", "run failed", {"error", ew_strerror(status), 0},
               {"detail", err->detail, 0});
    return exit_code(status);
}

/* ---- the parts, in the order of their start ---- */

static int start_dev(run *r, ew_error *err) {
    int status = dev_etcd_start(&r->dev, ew_options_text(r->options, "etcd_path"),
                                ew_options_text(r->options, "dev_data"), &r->stop_signals, err);
    if (status == EW_OK)
        status = ew_options_set(r->options, "endpoints", dev_etcd_endpoint(r->dev), err);
    if (status == EW_OK)
        log_fields(EW_LOG_INFO, LOG_NAMED(r->name), "service", "private etcd started",
                   {"endpoint", dev_etcd_endpoint(r->dev), 0}, {"directory", dev_etcd_directory(r->dev), 0});
    return status;
}

static int start_http(run *r, ew_error *err) {
    const char *listen = ew_options_text(r->options, "http_listen");
    if (listen[0] == '\0')
        return EW_OK;
    const http_config config = {
        .listen = listen,
        .worker = r->name,
        .prefix = ew_options_text(r->options, "prefix"),
        .liveness_ms = ew_options_int(r->options, "liveness_ms"),
        .source = r->worker,
        .log_dropped = logger_dropped,
    };
    int status = http_start(&r->http, &config, err);
    if (status != EW_OK)
        return status;
    log_fields(EW_LOG_INFO, LOG_NAMED(r->name), "service", "HTTP server listening", {"url", http_url(r->http), 0});
    return EW_OK;
}

/* Logs the URLs for nng applications. */
static void tell_urls(const run *r) {
    const char *submit = ew_worker_submit_url(r->worker), *ticks = ew_worker_ticks_url(r->worker);
    if (submit)
        log_fields(EW_LOG_INFO, LOG_NAMED(r->name), "service", "submit socket listening", {"url", submit, 0});
    if (ticks)
        log_fields(EW_LOG_INFO, LOG_NAMED(r->name), "service", "ticks socket listening", {"url", ticks, 0});
}

/* Runs on a thread of its own, because ew_worker_join blocks and the first thread waits for signals. */
static void *wait_for_worker(void *arg) {
    run *r = arg;
    r->status = ew_worker_join(r->worker, &r->err);
    uint64_t one = 1;
    ssize_t written = write(r->ended, &one, sizeof one);
    (void)written; /* a count of 1 always fits */
    return NULL;
}

static int launch_worker(run *r, ew_error *err) {
    ew_election *election = r->campaign ? campaign_election(r->campaign) : NULL;
    int status = EW_OK;
    if (election && ew_election_revision(election) == 0) /* lost at once */
        status = ew_fail(err, EW_ERR_LEADERSHIP_LOST, "leadership was lost before the worker started");
    if (status == EW_OK && election)
        status = ew_worker_set_election(r->worker, election);
    if (status == EW_OK)
        status = ew_worker_start(r->worker, err);
    http_set_waiting(r->http, NULL);
    if (status == EW_OK)
        tell_urls(r);
    if (status == EW_OK && pthread_create(&r->waiter, NULL, wait_for_worker, r) != 0)
        status = ew_fail(err, EW_ERR_SYSTEM, "cannot start the thread that waits for the worker");
    r->launched = status == EW_OK;
    return status;
}

/* Creates the worker and the HTTP server at once, so that the pages are available. With an election, the worker starts
 * only when this process is the leader. */
static int start_worker(run *r, ew_error *err) {
    const ew_reactor *reactor = r->chosen.reactor;
    void *self = r->chosen.self;
    if (r->demo) {
        reactor = &demo_reactor;
        self = r->demo;
    }
    int status = ew_worker_open(&r->worker, r->options, reactor, self, err);
    if (status == EW_OK)
        status = ew_client_open(&r->client, r->options, err);
    if (status == EW_OK)
        status = ew_worker_set_client(r->worker, r->client);
    if (status == EW_OK)
        status = start_http(r, err);
    if (status != EW_OK)
        return status;
    if (ew_options_text(r->options, "elect")[0] == '\0')
        return launch_worker(r, err);
    http_set_waiting(r->http, "campaigning for leadership");
    return campaign_start(&r->campaign, r->options, err);
}

/* Without a prefix of the user, the demo uses /demo: the whole keyspace would work, but is harder to inspect. */
static int choose_prefix(run *r, ew_error *err) {
    if (ew_options_int(r->options, "demo") && settings_source_of(r->settings, "prefix") == SOURCE_DEFAULT)
        return ew_options_set(r->options, "prefix", "/demo", err);
    return EW_OK;
}

static int start(run *r, ew_error *err) {
    int status = settings_check(r->settings, err);
    if (status == EW_OK)
        status = settings_check_files(r->options, err);
    if (status == EW_OK)
        status = choose_prefix(r, err);
    log_fields(EW_LOG_INFO, LOG_NAMED(r->name), "service", "etcdworkerd starts", {"version", ew_version(), 0},
               {"reactor", ew_options_text(r->options, "reactor"), 0},
               {"prefix", ew_options_text(r->options, "prefix"), 0});
    if (status == EW_OK && ew_options_int(r->options, "dev"))
        status = start_dev(r, err);
    if (status == EW_OK) /* after the start of the private etcd, which it must not affect; before the first thread */
        status = ew_process_prepare((int)ew_options_int(r->options, "cpu"), err);
    if (status == EW_OK)
        status = chosen_init(&r->chosen, r->options, err);
    if (status == EW_OK && ew_options_int(r->options, "demo"))
        status = demo_start(&r->demo, r->options, &r->chosen, err);
    return status == EW_OK ? start_worker(r, err) : status;
}

/* ---- while it runs ---- */

static void stop(run *r, const char *why) {
    if (r->stopping)
        return;
    r->stopping = true;
    log_fields(EW_LOG_INFO, LOG_NAMED(r->name), "service", "stopping", {"why", why, 0});
    if (r->launched)
        ew_worker_stop(r->worker);
}

/* Handles a change of the campaign's state. Returns false if there is nothing left to wait for. */
static bool on_campaign(run *r) {
    int status;
    ew_error err;
    switch (campaign_look(r->campaign, &status, &err)) {
    case CAMPAIGN_CANDIDATE:
        return true;
    case CAMPAIGN_LEADING:
        if (r->launched || r->stopping)
            return true;
        r->status = launch_worker(r, &r->err);
        return r->status == EW_OK;
    case CAMPAIGN_OVER:
        break;
    }
    if (!r->launched) {
        r->status = status;
        r->err = err;
    } else if (!r->stopping) {
        r->lost = status;
        r->lost_err = err;
        stop(r, ew_strerror(status));
    }
    return r->launched;
}

static void reload(run *r) {
    ew_error err = {0};
    const char *failed = "reload failed";
    int status = ew_client_reload(r->client, &err);
    if (status == EW_OK && r->campaign) {
        failed = "reload failed for the election; the worker's connections are reloaded";
        status = campaign_reload(r->campaign, &err);
    }
    if (status == EW_OK)
        log_write(EW_LOG_INFO, LOG_NAMED(r->name), "service", "certificates, keys and password reloaded", NULL, 0);
    else
        log_fields(EW_LOG_ERROR, LOG_NAMED(r->name), "service", failed, {"error", ew_strerror(status), 0},
                   {"detail", err.detail, 0});
}

static void on_signal(run *r, int signal) {
    ew_error err;
    if (signal == SIGHUP &&
        !r->dev) { /* a private etcd has no certificates: with it, SIGHUP means that the terminal was closed */
        if (!r->stopping)
            reload(r);
    } else if (signal == SIGCHLD) {
        if (!r->dev || r->dev_lost || !dev_etcd_has_ended(r->dev, &err))
            return;
        r->dev_lost = true;
        log_fields(EW_LOG_ERROR, LOG_NAMED(r->name), "service", "private etcd exited", {"detail", err.detail, 0});
        stop(r, "private etcd exited");
    } else if (r->stopping) {
        log_fields(EW_LOG_WARN, LOG_NAMED(r->name), "service", "forced exit", {"signal", strsignal(signal), 0});
        logger_flush_before_forced_end();
        demo_restore_terminal();
        _exit(EXIT_FAILED); /* the guard of the private etcd gets a signal and cleans up */
    } else {
        stop(r, strsignal(signal));
    }
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run_until_end(run *r) {
    int64_t seconds = ew_options_int(r->options, "seconds");
    int64_t end_ms = now_ms() + seconds * 1000;
    struct pollfd fds[] = {{.fd = r->signals, .events = POLLIN},
                           {.fd = r->ended, .events = POLLIN},
                           {.fd = r->campaign ? campaign_fd(r->campaign) : -1, .events = POLLIN},
                           {.fd = demo_fd(r->demo), .events = POLLIN}};
    while (r->launched || !r->stopping) {
        int64_t left_ms = seconds > 0 && !r->stopping ? end_ms - now_ms() : -1;
        if (seconds > 0 && !r->stopping && left_ms <= 0) {
            stop(r, "time limit reached");
            continue;
        }
        /* poll takes an int, so a long wait is split. */
        poll(fds, 4, left_ms > 3600000 ? 3600000 : (int)left_ms);
        if (fds[1].revents)
            return;
        for (int signal; (signal = signals_take(r->signals)) > 0;)
            on_signal(r, signal);
        if (fds[2].revents && !on_campaign(r))
            return;
        if (fds[3].revents && demo_is_ended_by_key(r->demo))
            stop(r, "key q pressed");
        fds[3].fd = demo_fd(r->demo); /* -1 if the terminal was closed */
    }
    r->status = EW_ERR_CANCELLED; /* stopped before it was elected */
}

/* ---- the whole run ---- */

static void tear_down(run *r) {
    http_stop(r->http);
    ew_worker_close(r->worker);
    campaign_end(r->campaign); /* after the worker's end: a former leader must not write after the next is elected */
    ew_client_close(r->client);
    demo_stop(r->demo);
    chosen_fini(&r->chosen);
    dev_etcd_stop(r->dev);
    if (r->signals >= 0)
        close(r->signals);
    if (r->ended >= 0)
        close(r->ended);
}

static int outcome(const run *r) {
    if (r->dev_lost)
        return EXIT_FAILED;
    if (r->lost != EW_OK)
        return give_up(r, r->lost, &r->lost_err);
    if (r->status == EW_OK || (r->status == EW_ERR_CANCELLED && r->stopping))
        return EXIT_DONE;
    return give_up(r, r->status, &r->err);
}

int run_service(const settings *s) {
    run r = {.settings = s, .options = s->options, .name = ew_options_text(s->options, "name"), .ended = -1};
    ew_error err = {0};
    int status = ew_process_check_limits(&err);
    if (status == EW_OK)
        status = logger_start(ew_options_int(s->options, "log_format") == 1, demo_log_level(s), &err);
    if (status != EW_OK) { /* the log does not run */
        logger_say(err.detail);
        return exit_code(status);
    }
    r.signals = signals_open(&r.stop_signals);
    r.ended = eventfd(0, EFD_CLOEXEC);
    status = r.signals >= 0 && r.ended >= 0
                 ? start(&r, &err)
                 : ew_fail(&err, EW_ERR_SYSTEM, "cannot create a signalfd or eventfd: %s", strerror(errno));
    int code;
    if (status == EW_OK) {
        run_until_end(&r);
        if (r.launched)
            pthread_join(r.waiter, NULL);
        code = outcome(&r);
    } else {
        /* A signal during the start of the private etcd is a normal stop. */
        code = status == EW_ERR_CANCELLED ? EXIT_DONE : give_up(&r, status, &err);
    }
    tear_down(&r);
    log_fields(EW_LOG_INFO, LOG_NAMED(r.name), "service", "etcdworkerd ends", {"status", NULL, code});
    logger_stop();
    return code;
}

/* Reports an error of one part of the configuration on a line of its own. EXIT_FAILED overrides EXIT_CONFIG. */
static void note(int *code, int status, const ew_error *err, FILE *problems) {
    if (status == EW_OK)
        return;
    fprintf(problems, "%s\n", err->detail);
    if (*code != EXIT_FAILED)
        *code = status == EW_ERR_NO_MEMORY ? EXIT_FAILED : EXIT_CONFIG;
}

int run_check(const settings *s, FILE *problems) {
    const ew_options *o = s->options;
    const char *listen = ew_options_text(o, "http_listen");
    ew_error err = {0};
    ew_client *client = NULL;
    ew_worker *worker = NULL;
    int code = EXIT_DONE;
    int files = settings_check_files(o, &err);
    note(&code, files, &err, problems);
    if (files == EW_OK)
        note(&code, ew_client_open(&client, o, &err), &err, problems);
    note(&code, ew_worker_open(&worker, o, chosen_none(), NULL, &err), &err, problems);
    note(&code, chosen_check(o, &err), &err, problems);
    note(&code, listen[0] ? http_check(listen, &err) : EW_OK, &err, problems);
    note(&code, settings_check(s, &err), &err, problems);
    ew_worker_close(worker);
    ew_client_close(client);
    return code;
}
