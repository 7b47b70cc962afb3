/* Stands before each source of the service: what it prints and logs goes where nobody looks. */
#ifndef ALLOC_QUIET_H
#define ALLOC_QUIET_H

#include <stdio.h>
#include <unistd.h>

extern FILE *quiet_out; /* opened by the scenarios */

#undef STDOUT_FILENO
#undef STDERR_FILENO
#define STDOUT_FILENO fileno(quiet_out)
#define STDERR_FILENO fileno(quiet_out)
#define printf(...)   fprintf(quiet_out, __VA_ARGS__)

#endif
