#include "shell/down.h"

void down_send(shell_io *io, Msg__Actor actor, int status, const char *detail) {
    Msg__Message m = MSG__MESSAGE__INIT;
    Msg__Down down = MSG__DOWN__INIT;
    down.actor = actor;
    down.status = status;
    down.detail = (char *)(uintptr_t)detail;
    m.down = &down;
    io->ops->send(io, &m, IO_SEND);
}
