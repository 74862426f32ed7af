/*
 * under_way: what this replica has begun for websockets and nobody was promised yet: results on
 * their way into the database, ends of sockets that are not on record. A status waits for those
 * that were begun before it was asked for. Safe from any thread.
 */
#ifndef API_GRADING_UNDER_WAY_H
#define API_GRADING_UNDER_WAY_H

#include <stdbool.h>
#include <stdint.h>

struct under_way;

struct under_way *under_way_new(void);
void under_way_free(struct under_way *under_way); /* NULL is fine */

/* Something begins; the ticket is for its end. */
int64_t under_way_begin(struct under_way *under_way);
void under_way_end(struct under_way *under_way, int64_t ticket);

/* Waits until all that had begun before this call has ended, `wait_ms` at most. */
void under_way_wait(struct under_way *under_way, int64_t wait_ms);

#endif
