#include "scheduler/rules/worker_record.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"

enum { MARKS_AT_ONCE = 500 };

void worker_record(struct scheduler *scheduler, struct known_worker *worker)
{
    struct worker_marks *marks = &scheduler->marks;
    if (marks->count == marks->room) {
        marks->room = marks->room * 2 + 16;
        marks->list = bw_grow(marks->list, marks->room, sizeof *marks->list);
    }
    worker->jobs_recorded = worker->jobs_processed;
    struct worker_mark *mark = &marks->list[marks->count++];
    *mark = (struct worker_mark){.term = scheduler->term,
                                 .epoch = worker->epoch,
                                 .jobs_processed = worker->jobs_processed,
                                 .is_alive = worker->is_alive,
                                 .beats_at_work = worker->beats_at_work,
                                 .last_seen_ms = scheduler->date_ms -
                                                 (scheduler->now_ms - worker->seen_ms)};
    snprintf(mark->id, sizeof mark->id, "%s", worker->id);
}

/* One batch is in flight at a time, so the later of two marks of a worker is written last. Marks
 * that are added meanwhile form the next batch. */
void worker_record_round(struct scheduler *scheduler)
{
    struct worker_marks *marks = &scheduler->marks;
    if (marks->is_in_flight || marks->count == 0)
        return;
    size_t count = marks->count < MARKS_AT_ONCE ? marks->count : MARKS_AT_ONCE;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_MARK_WORKERS);
    db_job->marks.list = bw_alloc(count * sizeof *marks->list);
    memcpy(db_job->marks.list, marks->list, count * sizeof *marks->list);
    db_job->marks.count = count;
    marks->count -= count;
    memmove(marks->list, marks->list + count, marks->count * sizeof *marks->list);
    marks->is_in_flight = true;
    scheduler_submit(scheduler, db_job);
}

void worker_record_completed(struct scheduler *scheduler)
{
    scheduler->marks.is_in_flight = false;
}
