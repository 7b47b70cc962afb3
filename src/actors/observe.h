/* Lets a program measure what passes through the actors. The library itself observes nothing. */
#ifndef ACTORS_OBSERVE_H
#define ACTORS_OBSERVE_H

#include "shell/io.h"

typedef struct actors_observer {
    /* Called when a watcher or a committer was made, before `io` is used. It may replace the table of `io` by one that
     * forwards to the old one. */
    void (*made)(shell_io *io);
    void (*taken)(void); /* called for each message that is taken from a mailbox, on the thread that takes it */
} actors_observer;

/* NULL, unless the program sets it before the first actor starts. */
extern const actors_observer *actors_observed;

#endif
