/*
 * pausing: what is paused gets no job. A paused run is taken out of its course's turn, so it costs
 * nothing while jobs are handed out. The pauses are read whole, in the order in which reads are
 * asked for: by a query, after a write of the API; by each reconcile pass; by recovery. The
 * settings of rules/sharing are read with them. Jobs that were handed out go on, and their results
 * are taken.
 *
 * Callers: decide, and the rules that it calls. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_PAUSING_H
#define SCHEDULER_RULES_PAUSING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/scheduler.h"

/* The pauses that were read by recovery, before anything is handed out. */
void pausing_recovered(struct scheduler *scheduler, const struct pause *pauses, size_t count);

/* A run was started: is it paused? */
void pausing_take_run(struct scheduler *scheduler, struct active_run *run);

/* A worker was registered: is it paused? */
void pausing_take_worker(const struct scheduler *scheduler, struct known_worker *worker);

/* A result was noted: if the run's breaker is due, the run is paused, unless its breaker was
 * before.
 */
void pausing_check_breaker(struct scheduler *scheduler, struct active_run *run);

/* A run has ended and is about to be removed: its pauses, if it has any, are deleted. */
void pausing_forget_run(struct scheduler *scheduler, const struct active_run *run);

/* Asks for a read of the pauses. Returns its number, which begins after this call. */
int64_t pausing_want(struct scheduler *scheduler);

/* Whether that read is complete, and no lease of what is paused is still being inserted. */
bool pausing_is_complete(const struct scheduler *scheduler, int64_t read);

/* The pause of this run or worker that is in force; NULL: none. Borrowed until the next event. */
const struct pause *pausing_of_run(const struct scheduler *scheduler, const struct active_run *run);
const struct pause *pausing_of_worker(const struct scheduler *scheduler,
                                      const struct known_worker *worker);

/* What is shown of the pause of a worker, also of the short automatic one (worker_table.h), which
 * is nowhere stored; NULL: it is not paused. New reference. */
json_t *pausing_worker_json(const struct scheduler *scheduler, const struct known_worker *worker);

/* The pauses in force that concern the course (""; all), from number `offset` on:
 * {"pauses": [...], "next_offset": where it goes on, or null}. New reference. */
json_t *pausing_list_json(const struct scheduler *scheduler, const char *course, int64_t offset);

/* Begins a read that is wanted. */
void pausing_round(struct scheduler *scheduler);

/* Pauses pass. */
void pausing_tick(struct scheduler *scheduler);

/* A database job of this module is done; what it has read may be taken out of it. */
void pausing_completed(struct scheduler *scheduler, struct db_job *db_job);

#endif
