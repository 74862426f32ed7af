/*
 * scheduler_queries: queries that only the scheduler can answer. A query leaves with the next batch
 * of signals; a callback brings its answer. In the change stream the signal follows every write
 * that was acknowledged before, so the answer is current.
 *
 * One query of each kind and subject is open at a time. Callers that ask while it is open share the
 * next one, since the answer to the open query may be older than their requests. A query without an
 * answer is sent again every second, under the same number, since signals may be lost and leaders
 * may change. It is dropped when no caller waits for it any longer.
 *
 * Callers: handlers and websockets (ask), callback_handler (answer). One timer thread. Safe from
 * any thread; no function waits.
 */
#ifndef API_UPLINK_SCHEDULER_QUERIES_H
#define API_UPLINK_SCHEDULER_QUERIES_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/signal_store.h"

struct queries;
struct signals;

enum {
    QUERY_TIMEOUT_MS = 5000,
    QUERIES_WAITING_MAX = 4096, /* callers that wait for answers of one kind */
    LISTS_WAITING_MAX = 128     /* the same for the list of workers, which is long */
};

/* An answer, borrowed during the call of `answered`. */
struct query_answer {
    const json_t *value;
    const char *text; /* the same as JSON text, written once for all callers */
};

struct query {
    enum query_kind kind;
    char subject[WORKER_ID_SIZE]; /* the id of a course, a job, a run or a worker */
    int64_t epoch;                /* of the websocket's worker; 0 for other kinds */
    int64_t request_timeout_ms;
    /* Called once, with no lock held. BW_OK with the answer; or BW_UNAVAILABLE and NULL: no answer
     * came in time, or too many callers wait. Must not wait. */
    void (*answered)(enum bw_code code, const struct query_answer *answer, void *context);
    void *context;
};

/* Creates *queries, and starts the timer thread. Borrows `signals` until scheduler_queries_close.
 * BW_INTERNAL: no thread. */
enum bw_code scheduler_queries_open(struct signals *signals, struct queries **queries,
                                    struct bw_error *error) BW_CHECKED;

/* Completes open queries as unavailable, then ends the thread. NULL is allowed. */
void scheduler_queries_close(struct queries *queries);

/* Sends a query, which is copied. QUERY_ENDED, the end of a websocket, is always sent, however many
 * callers wait. */
void scheduler_queries_ask(struct queries *queries, const struct query *query);

/* Passes the answer to a query's callers. Ignored if no query with this number is open. `answer` is
 * borrowed. */
void scheduler_queries_answer(struct queries *queries, int64_t number, const json_t *answer);

#endif
