/* The demo's keyboard: the key q, without Enter. While it is open, the terminal does not echo or buffer lines. One for
 * the process, since the process has one terminal. */
#ifndef SERVICE_DEMO_KEYS_H
#define SERVICE_DEMO_KEYS_H

#include <stdbool.h>

/* Opens the keyboard if stdin is a terminal and this process is in its foreground. Returns whether it did. */
bool demo_keys_open(void);

/* Returns the file descriptor to poll; -1 without a keyboard. */
int demo_keys_fd(void);

/* Reads the typed characters, without waiting; returns whether one was q. */
bool demo_keys_take_end(void);

/* Restores the terminal. Any time, any thread; a second call does nothing. */
void demo_keys_restore(void);

#endif
