/*
 * scheduler_queries: what only the scheduler can answer, from the signal that asks to the callback
 * that answers. The signal stands in the database behind everything that the asker has been told,
 * so the answer is current. One that stays without an answer is asked again every second (signals
 * may be lost, and leaders change), and given up when its patience is over. Callers: handlers and
 * sockets (ask), the callbacks of the scheduler (answer). One timer thread. Safe from any thread.
 */
#ifndef API_UPLINK_SCHEDULER_QUERIES_H
#define API_UPLINK_SCHEDULER_QUERIES_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/signal_store.h"

struct queries;
struct signals;

enum { QUERY_TIMEOUT_MS = 5000 };

struct query {
    enum query_kind kind;
    char subject[WORKER_ID_SIZE]; /* a course, a job or a worker */
    int64_t epoch;
    int64_t request_timeout_ms;
    /* Called once, no lock held: BW_OK with the answer (borrowed), or BW_UNAVAILABLE: nobody
     * answered. Must not wait. */
    void (*answered)(enum bw_code code, const json_t *answer, void *context);
    void *context;
};

/* `signals` is borrowed. BW_INTERNAL: no thread. */
enum bw_code scheduler_queries_open(struct signals *signals, struct queries **queries,
                                    struct bw_error *error) BW_CHECKED;

/* Gives up what is open, then ends the thread. NULL is fine. */
void scheduler_queries_close(struct queries *queries);

/* Asks; `question` is copied. */
void scheduler_queries_ask(struct queries *queries, const struct query *query);

/* The answer to a question; others than those that are open are ignored. */
void scheduler_queries_answer(struct queries *queries, int64_t number, const json_t *answer);

#endif
