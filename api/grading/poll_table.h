/*
 * poll_table: the polls that wait at this replica. A poll waits until the scheduler sends a job or
 * an empty answer, its deadline passes, or its client disconnects. Callers: the poll handler and
 * the websockets (park), callback_handler and hand_outs (take, empty), the HTTP server (a client
 * has disconnected), shutdown (drain). One timer thread sleeps until the next deadline. Safe from
 * any thread; no function waits.
 *
 * A poll is PARKED until its deadline. Then it is ENDING: a final signal asks the scheduler for an
 * answer, and after a second (3 s in the course protocol) without one the poll is answered empty. A
 * poll with wait=0 is ENDING from its start.
 *
 * Order: every change of the table is passed to `signals` under the table's mutex, and
 * poll_table_snapshot calls back under that mutex too. So a batch of signals that is cut in that
 * callback corresponds exactly to the table in the snapshot: no poll is missing in both, and none
 * is replaced by an older state. Lock order: poll_table, then signals, never the other way. No
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
#include "api/uplink/signals.h"
#include "common/base/error.h"

struct poll_table;

struct poll_table_settings {
    struct signals *signals; /* borrowed until poll_table_close */
    /* NULL: exchange_watch, exchange_is_gone, exchange_refuse. For tests. */
    void (*watch)(struct exchange *exchange, void (*gone)(struct exchange *exchange, void *context),
                  void *context);
    bool (*is_gone)(const struct exchange *exchange);
    void (*refuse)(struct exchange *exchange, enum bw_code code, const struct bw_error *error);
};

/* Creates *table, and starts the timer thread. `settings` are copied. BW_INTERNAL: no thread. */
enum bw_code poll_table_open(const struct poll_table_settings *settings, struct poll_table **table,
                             struct bw_error *error) BW_CHECKED;

/* Drains the table, if that was not done yet, and ends the timer thread. NULL is allowed. */
void poll_table_close(struct poll_table *table);

/* Parks `exchange` (steals it in any case: it is answered by the table, or by the caller that takes
 * it). `wait_ms` 0: the scheduler is asked for an answer at once. */
void poll_table_park(struct poll_table *table, struct exchange *exchange, const char *worker,
                     int64_t wait_ms);

/* Parks a grader with a websocket, without a deadline. Returns the poll's number; 0: the table is
 * draining. */
int64_t poll_table_park_socket(struct poll_table *table, uint64_t socket, const char *worker);

/* Removes the poll of a websocket that has ended. */
void poll_table_leave(struct poll_table *table, int64_t poll);

/* Like poll_table_take, for the poll of a websocket. Returns the socket's number; 0: the poll no
 * longer waits here, or belongs to another worker. */
uint64_t poll_table_take_socket(struct poll_table *table, int64_t poll, const char *worker);

enum poll_kind { POLL_KIND_NONE, POLL_KIND_REQUEST, POLL_KIND_SOCKET };

/* Whether this poll of this worker waits here, and its kind. Only a hint: the poll may leave a
 * moment later. */
enum poll_kind poll_table_kind(struct poll_table *table, int64_t poll, const char *worker);

/* Removes the poll, and returns its exchange, which the caller must answer. NULL: the poll no
 * longer waits here, or belongs to another worker. */
struct exchange *poll_table_take(struct poll_table *table, int64_t poll, const char *worker);

/* The scheduler has no job for this poll: answers it empty, if it is ENDING. A poll before its
 * deadline continues to wait, so an empty answer never comes early. Unknown polls are ignored. */
void poll_table_empty(struct poll_table *table, int64_t poll);

/* Answers all waiting polls empty; from now on every poll is answered empty at once. */
void poll_table_drain(struct poll_table *table);

/* The number of waiting polls. */
size_t poll_table_count(struct poll_table *table);

/* Lists all waiting polls at one instant. ENDING polls are included, as final ones, since the
 * scheduler has not answered them yet. Fills `snapshot` (its list only with `with_polls`) and, in
 * the same critical section, calls `at`, which may lock signals' mutex and nothing else. */
void poll_table_snapshot(struct poll_table *table, bool with_polls, struct poll_snapshot *snapshot,
                         void (*at)(void *context), void *context);

#endif
