#include "service/demo_keys.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static atomic_bool taken;

bool demo_keys_open(void) {
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    struct termios keys = before;
    keys.c_iflag &= ~(tcflag_t)IXON; /* Ctrl-S would stop the picture, and keep the cursor hidden at the end */
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 0; /* read does not wait */
    keys.c_cc[VTIME] = 0;
    keys.c_cc[VSUSP] = _POSIX_VDISABLE; /* a suspended demo would leave these settings to the shell */
    signal(SIGTTIN, SIG_IGN);           /* in the background, read fails instead of stopping the process */
    signal(SIGTTOU, SIG_IGN);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &keys) != 0)
        return false;
    atomic_store(&taken, true);
    return true;
}

int demo_keys_fd(void) {
    return atomic_load(&taken) ? STDIN_FILENO : -1;
}

bool demo_keys_take_end(void) {
    char typed[64];
    ssize_t got = read(STDIN_FILENO, typed, sizeof typed);
    if (got > 0)
        return memchr(typed, 'q', (size_t)got) || memchr(typed, 'Q', (size_t)got);
    if (got == 0 || (errno != EINTR && errno != EAGAIN))
        demo_keys_restore(); /* the terminal is closed */
    return false;
}

void demo_keys_restore(void) {
    if (atomic_exchange(&taken, false))
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
}
