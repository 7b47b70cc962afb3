/* What the demo shows: who holds what, at which revision, and what changed last. Used by one thread, the reactor's. */
#ifndef SERVICE_DEMO_BOARD_H
#define SERVICE_DEMO_BOARD_H

#include <etcdworker/types.h>

typedef struct demo_board demo_board;

/* Whether stdout is a terminal on which the board is drawn in place; otherwise each change is a line on stdout. */
bool demo_board_in_place(void);

/* `prefix` in its normal form and `endpoint` are shown to the user; copied. `end_key` is the key that ends the demo, as
 * shown; it must outlive the board. NULL when out of memory. */
demo_board *demo_board_new(const char *prefix, const char *endpoint, const char *end_key);
void demo_board_free(demo_board *b);

/* What has happened to a key. What is none of members, tasks, assignments is left alone. False when out of memory. */
bool demo_board_update(demo_board *b, const ew_event *event);

/* Draws, on a terminal, whatever its size is now: what does not fit is left out. `next` says what the demo does next.
 */
void demo_board_draw(demo_board *b, int64_t revision, uint64_t ticks, int64_t now_ms, const char *next);

/* Gives the terminal back as it was, if it was drawn on. Safe at any moment, on any thread. */
void demo_board_restore_terminal(void);

#endif
