/* What the demo shows: which member holds which task, at which revision, and the last changes. Only the reactor's
 * thread uses it. */
#ifndef SERVICE_DEMO_BOARD_H
#define SERVICE_DEMO_BOARD_H

#include <etcdworker/types.h>

typedef struct demo_board demo_board;

/* Returns whether stdout is a terminal on which the board can be sampled in place; otherwise each change is a line on
 * stdout. */
bool demo_board_in_place(void);

/* Creates a board. It shows `prefix`, which is normalised, and `endpoint`; both are copied. `end_key` is the displayed
 * name of the key that ends the demo; it must outlive the board. Returns NULL when out of memory. */
demo_board *demo_board_new(const char *prefix, const char *endpoint, const char *end_key);
void demo_board_free(demo_board *b);

/* Records an event. Ignores keys that are not members, tasks or assignments. Returns false when out of memory. */
bool demo_board_update(demo_board *b, const ew_event *event);

/* Draws the board in the terminal's current size, and leaves out what does not fit; does nothing if stdout is not a
 * terminal. `next` describes the demo's next step. */
void demo_board_draw(demo_board *b, int64_t revision, uint64_t ticks, int64_t now_ms, const char *next);

/* Restores the terminal if the board was sampled on it. Any time, any thread. */
void demo_board_restore_terminal(void);

#endif
