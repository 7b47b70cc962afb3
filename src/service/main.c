/* etcdworkerd: see run.h, and `etcdworkerd --help`. */
#include "service/dev_guard.h"
#include "service/logger.h"
#include "service/run.h"

#include <etcdworker/version.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum { RUN = -1 };

/* Prints each error on a line of its own, after the program's name. */
static void print_problems(char *text) {
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        logger_say(line);
}

/* The number of a closed standard descriptor would be given to the next file or socket, and output would go there: for
 * example a log line into the connection to etcd. So a closed one is opened on /dev/null, in the mode in which its
 * usual use still fails. */
static void fill_standard_descriptors(void) {
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            _exit(EXIT_FAILED); /* the reason cannot be printed anywhere */
    }
}

static int act(settings *s, int status, FILE *problems) {
    if (status != EXIT_DONE)
        return status;
    switch (s->action) {
    case SETTINGS_HELP:
        settings_print_help(stdout);
        return EXIT_DONE;
    case SETTINGS_VERSION:
        printf("etcdworkerd %s\n", ew_version());
        return EXIT_DONE;
    case SETTINGS_CHECK:
        settings_print_effective(stdout, s);
        return run_check(s, problems);
    default:
        return RUN;
    }
}

int main(int argc, char **argv) {
    fill_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, also for --help */
    if (argc > 1 && strcmp(argv[1], DEV_GUARD_FLAG) == 0)
        return dev_guard_main(argc, argv);
    settings s;
    char *text = NULL;
    size_t size = 0;
    FILE *problems = open_memstream(&text, &size);
    if (!problems)
        return EXIT_FAILED;
    int status = act(&s, settings_load(&s, argc, argv, environ, problems), problems);
    fclose(problems);
    print_problems(text);
    free(text);
    if (status == RUN)
        status = run_service(&s);
    settings_fini(&s);
    if (fflush(stdout) != 0 || ferror(stdout))
        status = status == EXIT_DONE ? EXIT_FAILED : status;
    return status;
}
