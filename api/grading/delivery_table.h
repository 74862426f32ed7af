/*
 * delivery_table: what this replica handed out, by job and attempt: so that a callback may be
 * repeated without harm, that a result is known to come from a worker which had the job, and that a
 * new leader can be told what was delivered. Entries are forgotten some seconds after their lease's
 * deadline, or after the job's result (the scheduler's retention relies on that). Safe from any
 * thread.
 *
 * A hand-out is begun before its poll leaves the poll_table and settled after it was answered: so
 * at no instant is it in neither table, and an announcement (which lists the polls first, then
 * this) never lacks one.
 */
#ifndef API_GRADING_DELIVERY_TABLE_H
#define API_GRADING_DELIVERY_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/job.h"
#include "common/store/signal_store.h"

struct delivery_table;

struct hand_out {
    int64_t poll;
    char worker[WORKER_ID_SIZE];
    char job[JOB_ID_SIZE];
    uint32_t attempt;
    int64_t expires_in_ms; /* until the lease's deadline; the table adds some slack */
};

struct delivery_table *delivery_table_new(void);
void delivery_table_free(struct delivery_table *table); /* NULL is fine */

/* Was this very hand-out (job, attempt, worker, poll) delivered before? Waits for one that is being
 * delivered right now: microseconds. The same job and attempt for a later poll of the worker is
 * another hand-out: its answer was lost. */
bool delivery_table_delivered(struct delivery_table *table, const struct hand_out *hand_out);

/* Begins a hand-out: true, and then delivery_table_settle is owed, from the same thread and without
 * waiting for anything in between. False: it was delivered before, or this attempt is another
 * worker's, or the job has its result. Waits like the above. */
bool delivery_table_begin(struct delivery_table *table, const struct hand_out *hand_out);

/* It was delivered; or it was not, and all is as before it was begun. */
void delivery_table_settle(struct delivery_table *table, const struct hand_out *hand_out,
                           bool is_delivered);

/* Was this job, in whatever attempt, handed to this worker here, as far as is remembered? */
bool delivery_table_has(struct delivery_table *table, const char *job, const char *worker);

/* Who was handed this job last, here, as far as is remembered? False: nobody. */
bool delivery_table_holder(struct delivery_table *table, const char *job,
                           char worker[WORKER_ID_SIZE]);

/* The job has a result: no longer listed, soon forgotten. */
void delivery_table_finish(struct delivery_table *table, const char *job);

size_t delivery_table_count(struct delivery_table *table);

/* Those delivered, without a result that was seen here, and not expired; `limit` at most. Waits
 * like the above, so that what was begun before the call is in it if, and only if, it was
 * delivered. New, free(); *count says how many. */
struct signal_delivery *delivery_table_list(struct delivery_table *table, size_t limit,
                                            size_t *count);

#endif
