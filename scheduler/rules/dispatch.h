/*
 * dispatch: matches waiting polls with jobs (state/queue.h decides which job is next): inserts a
 * lease for each match, and sends the hand-out to the poll's replica once the lease is stored.
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_DISPATCH_H
#define SCHEDULER_RULES_DISPATCH_H

#include <stdbool.h>

#include "scheduler/state/event.h"
#include "scheduler/state/scheduler.h"

/* Hands out jobs to parked polls, and answers the polls that are final. True: there may be more to
 * hand out; call again once the commands so far are carried out. */
bool dispatch_round(struct scheduler *scheduler);

/* EVENT_LEASED: the insert of a lease is complete. */
void dispatch_lease_completed(struct scheduler *scheduler, const struct lease_insert *insert,
                              enum commit_outcome outcome);

/* Lets a matched poll wait again; ends the poll if its worker is no longer known. */
void dispatch_return_poll(struct scheduler *scheduler, struct parked_poll *poll,
                          const char *worker_id);

#endif
