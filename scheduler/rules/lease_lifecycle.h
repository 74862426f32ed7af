/*
 * lease_lifecycle: the transitions of a lease after its insert: delivered, unconfirmed, or ended
 * because it was lost, released, undeliverable or past its deadline. Belongs to the scheduler's
 * core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_LEASE_LIFECYCLE_H
#define SCHEDULER_RULES_LEASE_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/scheduler.h"

enum { GONE_HOLD_MS = 5000 }; /* a job whose poll had ended is kept for its worker this long */

/* The replica has answered the worker's poll with the job: the worker was seen now. */
void lease_is_delivered(struct scheduler *scheduler, struct live_lease *lease);

/* It is unknown whether the worker has received the job: the job is offered to it again for
 * `hold_ms`. */
void lease_becomes_unconfirmed(struct scheduler *scheduler, struct live_lease *lease,
                               int64_t hold_ms);

/* Cancels the delivery. The poll waits again, unless the hand-out is in a callback in flight: then
 * that callback's reply decides. */
void lease_withdraw(struct scheduler *scheduler, struct live_lease *lease);

/* A grader that is not the sender of what ended the lease may still work on its job: if it has a
 * websocket, its replica is notified. */
void lease_notify_worker(struct scheduler *scheduler, const struct live_lease *lease);

/* True if the worker may never have received the job: then the end of the lease is not a failed
 * attempt. */
bool lease_is_undelivered(const struct live_lease *lease);

/* Begins to end the lease (DB_JOB_END_LEASE), unless it is ending already or not inserted yet. */
void lease_begin_end(struct scheduler *scheduler, struct live_lease *lease, enum lease_end end);

/* DB_JOB_END_LEASE is done. */
void lease_end_completed(struct scheduler *scheduler, const struct db_job *db_job);

/* The same, for one that was submitted before the last recovery. That recovery may have read the
 * lease before it ended; then the scheduler recovers again. */
void lease_end_completed_late(struct scheduler *scheduler, const struct db_job *db_job);

/* Ends the leases that are past their deadline, or unconfirmed for longer than their hold. */
void lease_lifecycle_tick(struct scheduler *scheduler);

/* Removes a lease that has ended, and corrects what its course was charged for it. */
void lease_remove(struct scheduler *scheduler, struct live_lease *lease);

#endif
