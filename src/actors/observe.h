/* Lets a program measure what passes through the actors. The library itself observes nothing. */
#ifndef ACTORS_OBSERVE_H
#define ACTORS_OBSERVE_H

#include "shell/io.h"

typedef struct actors_observer {
    /* A watcher or a committer was made. Before `io` is used, this may replace its table by one that forwards to it. */
    void (*made)(shell_io *io);
    void (*taken)(void); /* a message was taken from a mailbox; on the thread that took it */
} actors_observer;

/* NULL, unless the program sets it before the first actor starts. */
extern const actors_observer *actors_observed;

#endif
