/* The last message of an actor, which tells the reactor that it has ended. */
#ifndef SHELL_DOWN_H
#define SHELL_DOWN_H

#include "shell/io.h"

/* Sends DOWN. It cannot fail: an implementation of io always has memory for one. */
void down_send(shell_io *io, Msg__Actor actor, int status, const char *detail);

#endif
