/* etcdworkerd: see run.h, and `etcdworkerd --help`. */
#include "service/dev_guard.h"
#include "service/run.h"

#include <etcdworker/version.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

enum { RUN = -1 };

/* Each problem on a line of its own, after our name. */
static void print_problems(char *text) {
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        fprintf(stderr, "etcdworkerd: %s\n", line);
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
