/*
 * query_answers: answers what replicas ask on behalf of their clients
 * (api/uplink/scheduler_queries.h). A query arrives in the change stream after every write that its
 * client has seen acknowledged, so the state of the tables when the callback is written is a valid
 * answer. Each query is answered once per callback, and the size of a callback's answers is
 * bounded. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_QUERY_ANSWERS_H
#define SCHEDULER_RULES_QUERY_ANSWERS_H

#include <jansson.h>
#include <stdbool.h>

#include "common/store/signal_store.h"
#include "scheduler/state/scheduler.h"

/* Records the queries of a signal. The next callback answers them; a query about the end of a
 * websocket is answered once query_answers_round finds that end stored. */
void query_answers_note(struct scheduler *scheduler, struct known_replica *replica,
                        const struct signal *signal);

/* Makes the queries about ended websockets due whose end is stored. */
void query_answers_round(struct scheduler *scheduler);

/* True if there is a query of the replica to answer now. */
bool query_answers_are_due(const struct scheduler *scheduler, const struct known_replica *replica);

/* The answers for a callback, as many as it may carry, as a new reference; NULL: none. They count
 * as sent until replica_queries_sent. */
json_t *query_answers_take(struct scheduler *scheduler, struct known_replica *replica);

/* Drops the list of workers that the callbacks of this round shared. Call it once all of them are
 * written. */
void query_answers_end_round(struct scheduler *scheduler);

#endif
