/*
 * delivery_table: the hand-outs of this replica, by job and attempt. By this table a repeated
 * callback is recognised, a result is known to come from a worker that received the job, and a new
 * leader learns what was delivered. Entries are removed some seconds after their lease's deadline,
 * or after the job's result (the scheduler's retention relies on that). Safe from any thread.
 *
 * A hand-out is begun before its poll leaves poll_table, and completed after the poll was answered.
 * So it is always in at least one of the two tables, and a full resync, which lists the polls first
 * and then this table, never lacks one.
 */
#ifndef API_GRADING_DELIVERY_TABLE_H
#define API_GRADING_DELIVERY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/grading/job_receipt.h"
#include "common/domain/job.h"
#include "common/store/signal_store.h"

struct delivery_table;

struct hand_out {
    int64_t poll;
    char worker[WORKER_ID_SIZE];
    char job[JOB_ID_SIZE];
    uint32_t attempt;
    int64_t expires_in_ms; /* milliseconds until the lease's deadline; the table adds some slack */
    struct job_handing handing; /* for the receipt of the job's result */
};

/* Returns a new table, never NULL. */
struct delivery_table *delivery_table_new(void);
void delivery_table_free(struct delivery_table *table); /* NULL is allowed */

/* Whether this hand-out (job, attempt, worker, poll) was delivered before. Waits, for microseconds,
 * while another thread delivers the same job and attempt. The same job and attempt for a later poll
 * of the worker is another hand-out: its first answer was lost. */
bool delivery_table_delivered(struct delivery_table *table, const struct hand_out *hand_out);

/* Begins a hand-out. True: the caller must call delivery_table_complete, from the same thread and
 * without waiting in between. False: it was delivered before, or another worker has this attempt,
 * or the job has its result. Waits like delivery_table_delivered. */
bool delivery_table_begin(struct delivery_table *table, const struct hand_out *hand_out);

/* Completes a hand-out. If it was not delivered, the table is as before delivery_table_begin. */
void delivery_table_complete(struct delivery_table *table, const struct hand_out *hand_out,
                             bool is_delivered);

/* Whether the table has a hand-out of this job, in any attempt, to this worker. */
bool delivery_table_has(struct delivery_table *table, const char *job, const char *worker);

/* The same; *handing is what the latest one was handed out with. */
bool delivery_table_find(struct delivery_table *table, const char *job, const char *worker,
                         struct job_handing *handing);

/* Writes the worker of this job's latest hand-out. False: the table has none. */
bool delivery_table_holder(struct delivery_table *table, const char *job,
                           char worker[WORKER_ID_SIZE]);

/* The job has a result: its hand-outs are no longer listed, and soon removed. */
void delivery_table_finish(struct delivery_table *table, const char *job);

/* The delivered hand-outs that have not expired and have no result that this replica knows; at most
 * `limit`. Waits like delivery_table_delivered, so that a hand-out that was begun before the call
 * is listed if, and only if, it was delivered. New, free(); *count is their number. */
struct signal_delivery *delivery_table_list(struct delivery_table *table, size_t limit,
                                            size_t *count);

#endif
