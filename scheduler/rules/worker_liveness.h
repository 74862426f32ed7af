/*
 * worker_liveness: which workers are alive. A worker is dead after too long a silence, or when its
 * websocket ends or its registration is replaced; it is alive again when it is seen again. The jobs
 * of a dead worker are requeued. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_WORKER_LIVENESS_H
#define SCHEDULER_RULES_WORKER_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/scheduler.h"

/* The worker was seen at `seen_ms` (clock_boot_ms) through `replica` ("": unknown): it may be alive
 * again. */
void worker_note_seen(struct scheduler *scheduler, struct known_worker *worker, int64_t seen_ms,
                      const char *replica);

/* The worker says that it has a fault, or ("") that it has none any more, as recorded. */
void worker_fault_changed(struct scheduler *scheduler, struct known_worker *worker,
                          const char *fault);

/* The worker has sent something that ends its attempt of a job. `is_broken`: it may be broken;
 * after several of these in a row it is paused. */
void worker_note_end(struct scheduler *scheduler, struct known_worker *worker, bool is_broken);

/* The worker is dead: ends its leases. A job that it may never have received is requeued without a
 * failed attempt. */
void worker_lost(struct scheduler *scheduler, struct known_worker *worker);

/* The id of a known worker was registered again. */
void worker_registered_again(struct scheduler *scheduler, struct known_worker *worker,
                             const struct worker *registered);

/* The replica's process has ended, and with it the websockets of its workers. */
void worker_sockets_lost(struct scheduler *scheduler, const struct known_replica *replica);

/* Finds the workers that have been silent for too long; removes those that have been dead for a
 * day. */
void worker_liveness_tick(struct scheduler *scheduler);

#endif
