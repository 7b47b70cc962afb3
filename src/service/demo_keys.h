/* The keyboard of the demo: the key q, without Enter. The terminal neither echoes nor collects lines meanwhile. One for
 * the process, since it has one terminal. */
#ifndef SERVICE_DEMO_KEYS_H
#define SERVICE_DEMO_KEYS_H

#include <stdbool.h>

/* Takes the keyboard if stdin is a terminal and this process is in its foreground; answers whether it did. */
bool demo_keys_open(void);

/* The file descriptor to wait for, -1 without a keyboard. */
int demo_keys_fd(void);

/* Reads what was typed, without waiting: whether a q was in it. */
bool demo_keys_take_end(void);

/* Gives the terminal back as it was. Safe at any moment, on any thread; once is enough. */
void demo_keys_restore(void);

#endif
