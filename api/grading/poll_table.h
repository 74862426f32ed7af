/*
 * poll_table: the polls that wait at this replica, each for a job, an "empty" of the scheduler's,
 * its deadline or the end of its client. Callers: the poll handler (park), the callbacks of the
 * scheduler (take, empty), the HTTP server (a client has gone), shutdown (drain); one timer thread
 * of its own, asleep until the next deadline. Safe from any thread.
 *
 * A poll is PARKED until its deadline, where the scheduler is asked for a last word (a final
 * signal): then it is ENDING, and a second without an answer later it is cut, empty-handed. wait=0
 * is a poll that is ENDING from its start.
 *
 * Order: whatever happens to the table is told to `signals` under the table's mutex, and
 * poll_table_snapshot calls back under that mutex too. So a batch of signals that is cut in that
 * callback stands for exactly the table that the snapshot shows: no poll is in neither, none is
 * replaced by something older. Lock order: poll_table, then signals, never the other way. No
 * exchange is answered and nothing waits under the mutex.
 *
 * Ownership: a parked exchange belongs to the table; poll_table_take gives it to the caller, who
 * answers it.
 */
#ifndef API_GRADING_POLL_TABLE_H
#define API_GRADING_POLL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/exchange.h"
#include "common/base/error.h"
#include "common/store/signal_store.h"

struct poll_table;
struct signals;

struct poll_table_settings {
    struct signals *signals; /* borrowed until poll_table_close */
    /* NULL: exchange_watch, exchange_is_gone, exchange_refuse. For tests. */
    void (*watch)(struct exchange *exchange, void (*gone)(struct exchange *exchange, void *context),
                  void *context);
    bool (*is_gone)(const struct exchange *exchange);
    void (*refuse)(struct exchange *exchange, enum bw_code code, const struct bw_error *error);
};

/* BW_INTERNAL: no thread. */
enum bw_code poll_table_open(const struct poll_table_settings *settings, struct poll_table **table,
                             struct bw_error *error) BW_CHECKED;

/* Drains the table, if that was not done yet, and ends the timer. NULL is fine. */
void poll_table_close(struct poll_table *table);

/* Parks `exchange` (steals it, whatever becomes of it: it is answered by the table, or by who takes
 * it). `wait_ms` 0: the scheduler is asked for its answer at once. */
void poll_table_park(struct poll_table *table, struct exchange *exchange, const char *worker,
                     int64_t wait_ms);

/* A grader with a websocket waits, without a deadline, under the number that is returned; 0: the
 * table drains. */
int64_t poll_table_park_socket(struct poll_table *table, uint64_t socket, const char *worker);

/* Its socket has ended. */
void poll_table_leave(struct poll_table *table, int64_t poll);

/* Is it a websocket's? The same hint. */
bool poll_table_is_socket(struct poll_table *table, int64_t poll);

/* The same as poll_table_take for a websocket's: its socket's number; 0: it waits here no longer.
 */
uint64_t poll_table_take_socket(struct poll_table *table, int64_t poll, const char *worker);

/* Does this poll of this worker wait here? Only a hint: it may be gone a moment later. */
bool poll_table_has(struct poll_table *table, int64_t poll, const char *worker);

/* Takes the poll out. Its exchange is the caller's to answer; NULL: it waits here no longer, or is
 * another worker's. */
struct exchange *poll_table_take(struct poll_table *table, int64_t poll, const char *worker);

/* The scheduler has nothing for this poll: answers it empty. One that has not reached its deadline
 * waits on: an empty answer never comes sooner than was asked for. Unknown ones are ignored. */
void poll_table_empty(struct poll_table *table, int64_t poll);

/* From now on nothing parks; all that wait are answered empty at once. */
void poll_table_drain(struct poll_table *table);

size_t poll_table_count(struct poll_table *table);

/* All that waits, as of one instant. Polls that are ENDING are in it, as final ones: the scheduler
 * has not answered them either. */
struct poll_snapshot {
    int64_t count;
    int64_t checksum;          /* sum modulo 2^63 of signal_poll_checksum */
    struct signal_poll *polls; /* `count` of them; new, free(); NULL unless they were asked for */
};

/* Fills `snapshot` and, under the same hold of the mutex, calls `at`, which may lock signals' mutex
 * and nothing else. */
void poll_table_snapshot(struct poll_table *table, bool with_polls, struct poll_snapshot *snapshot,
                         void (*at)(void *context), void *context);

#endif
