/* The demo, with its screen and with a plugin, and a private etcd. */
#include "alloc/scenario.h"
#include "lib/process.h"
#include "service/demo.h"
#include "service/dev_etcd.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* Redirects stdout to a terminal, which accepts as much as it has space for. */
static int open_terminal(void) {
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        process_die("cannot open a terminal");
    quiet_out = freopen(ptsname(terminal), "we", quiet_out);
    if (!quiet_out || fcntl(fileno(quiet_out), F_SETFL, O_NONBLOCK) != 0)
        process_die("cannot open a terminal");
    return terminal;
}

/* Ends the redirection. Returns whether the demo's screen was shown. */
static bool close_terminal(int terminal) {
    char seen[4096];
    ssize_t len = read(terminal, seen, sizeof seen - 1);
    seen[len > 0 ? len : 0] = '\0';
    quiet_out = freopen("/dev/null", "we", quiet_out);
    close(terminal);
    if (!quiet_out)
        process_die("no /dev/null");
    return strstr(seen, "etcdworkerd demo") != NULL;
}

static int run_demo_worker(const ew_options *o, demo *d) {
    ew_worker *w = NULL;
    int status = ew_worker_open(&w, o, &demo_reactor, d, &err);
    if (status == EW_OK)
        status = ew_worker_run(w, &err);
    ew_worker_close(w);
    return status;
}

static int show(const ew_options *o, const chosen *c) {
    demo *d = NULL;
    int terminal = open_terminal(), status = demo_start(&d, o, c, &err);
    if (status == EW_OK)
        status = run_demo_worker(o, d);
    demo_stop(d);
    if (!close_terminal(terminal) && status == EW_OK)
        alloc_problem("the demo did not show its screen");
    return status;
}

/* Runs a plugin that ends with its first tick. */
static int play(const ew_options *o) {
    chosen c;
    int status = chosen_check(o, &err);
    if (status == EW_OK)
        status = chosen_init(&c, o, &err);
    if (status != EW_OK)
        return status;
    status = show(o, &c);
    chosen_fini(&c);
    if (status == EW_OK && !WITHOUT_FAILURE(client_get("/demo/plugin")).present)
        alloc_problem("the plugin's put is missing");
    return status;
}

void alloc_run_demo(void) {
    static const char *const options[][2] = {
        {"prefix", "/demo"}, {"reactor", ALLOC_PLUGIN}, {"reactor_args", "/demo"}, {"stop_timeout_ms", "60000"}};
    ew_options *o = alloc_options();
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        TRY(ew_options_set(o, options[i][0], options[i][1], &err));
    setenv("TERM", "xterm", 1);
    WITHOUT_FAILURE(client_delete("/demo/plugin"));
    TRY(play(o));
    ew_options_free(o);
}

void alloc_run_dev(void) {
    dev_etcd *d = NULL;
    sigset_t none;
    sigemptyset(&none);
    TRY(dev_etcd_start(&d, "etcd", "", &none, &err));
    dev_etcd_stop(d);
    int status = dev_etcd_start(&d, "/bin/false", "", &none, &err);
    if (status == EW_OK)
        alloc_problem("a program that is not etcd was accepted");
    if (status != EW_ERR_UNAVAILABLE)
        alloc_failed(status, "dev_etcd_start", &err);
}
