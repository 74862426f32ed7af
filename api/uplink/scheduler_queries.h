/*
 * questions: what only the scheduler can answer, from the signal that asks to the callback that
 * answers. The signal stands in the database behind everything that the asker has been told, so the
 * answer is current. One that stays without an answer is asked again every second (signals may be
 * lost, and leaders change), and given up when its patience is over. Callers: handlers and sockets
 * (ask), the callbacks of the scheduler (answer). One timer thread. Safe from any thread.
 */
#ifndef API_UPLINK_SCHEDULER_QUERIES_H
#define API_UPLINK_SCHEDULER_QUERIES_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/signal_store.h"

struct questions;
struct signals;

enum { QUESTION_PATIENCE_MS = 5000 };

struct question {
    enum question_kind kind;
    char subject[WORKER_ID_SIZE]; /* a course, a job or a worker */
    int64_t epoch;
    int64_t patience_ms;
    /* Called once, no lock held: BW_OK with the answer (borrowed), or BW_UNAVAILABLE: nobody
     * answered. Must not wait. */
    void (*answered)(enum bw_code code, const json_t *answer, void *context);
    void *context;
};

/* `signals` is borrowed. BW_INTERNAL: no thread. */
enum bw_code questions_open(struct signals *signals, struct questions **questions,
                            struct bw_error *error) BW_CHECKED;

/* Gives up what is open, then ends the thread. NULL is fine. */
void questions_close(struct questions *questions);

/* Asks; `question` is copied. */
void questions_ask(struct questions *questions, const struct question *question);

/* The answer to a question; others than those that are open are ignored. */
void questions_answer(struct questions *questions, int64_t number, const json_t *answer);

#endif
