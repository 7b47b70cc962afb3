/* Included before each source of the service: sends its output and its log to a file that is not read. */
#ifndef ALLOC_QUIET_H
#define ALLOC_QUIET_H

#include <stdio.h>
#include <unistd.h>

extern FILE *quiet_out; /* opened by the scenarios; NULL in the guard of a private etcd */

int etcdworkerd_main(int argc, char **argv); /* the daemon's main */

#undef stdout
#undef stderr
#undef STDOUT_FILENO
#undef STDERR_FILENO
#define stdout        quiet_out
#define stderr        (quiet_out != NULL ? quiet_out : stderr)
#define STDOUT_FILENO fileno(quiet_out)
#define STDERR_FILENO fileno(quiet_out)
#define printf(...)   fprintf(quiet_out, __VA_ARGS__)

#endif
