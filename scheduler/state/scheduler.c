#include "scheduler/state/scheduler.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { SURVEYS_AT_ONCE = 64, SURVEYED_AT_ONCE = 50000 /* runs, graders and leases */ };

void scheduler_init(struct scheduler *scheduler, const struct scheduler_settings *settings,
                    struct metrics *metrics)
{
    memset(scheduler, 0, sizeof *scheduler);
    scheduler->settings = *settings;
    scheduler->metrics = metrics;
    scheduler_reset(scheduler);
}

static void scheduler_forget_workers(struct scheduler *scheduler)
{
    struct asked_worker *asked, *next_asked;
    struct ended_worker *ended, *next_ended;
    HASH_ITER (hh, scheduler->asked, asked, next_asked) {
        HASH_DELETE(hh, scheduler->asked, asked);
        free(asked);
    }
    LL_FOREACH_SAFE (scheduler->ended, ended, next_ended)
        free(ended);
    scheduler->ended = NULL;
}

/* Frees the tables and the commands that were not carried out. */
static void scheduler_clear(struct scheduler *scheduler)
{
    command_list_clear(&scheduler->commands);
    lease_table_destroy(&scheduler->leases);
    replica_table_destroy(&scheduler->replicas);
    supersede_table_clear(&scheduler->supersedes);
    queue_destroy(&scheduler->queue);
    worker_table_destroy(&scheduler->workers);
    worker_groups_clear(&scheduler->groups);
    pause_table_clear(&scheduler->pauses);
    scheduling_clear(&scheduler->scheduling);
    scheduler_forget_workers(scheduler);
    json_decref(scheduler->worker_list);
    scheduler->worker_list = NULL;
    free(scheduler->marks.list);
    free(scheduler->reconcile.missed);
}

void scheduler_reset(struct scheduler *scheduler)
{
    kept_deadlines_add(&scheduler->kept_deadlines, &scheduler->leases);
    scheduler_clear(scheduler);
    lease_table_init(&scheduler->leases);
    replica_table_init(&scheduler->replicas);
    queue_init(&scheduler->queue);
    worker_table_init(&scheduler->workers, scheduler->settings.heartbeat_ms);
    scheduler->giving_up = 0;
    scheduler->marks = (struct worker_marks){0};
    scheduler->graders.is_in_flight = false;
    memset(scheduler->webhooks.notified_missing_ms, 0,
           sizeof scheduler->webhooks.notified_missing_ms);
    scheduler->reconcile = (struct reconcile){0};
    scheduler->retention = (struct retention_schedule){0};
    scheduler->is_handing_out = false;
    scheduler->generation++;
    scheduler->must_recover = false;
    scheduler->status_is_stale = true;
}

unsigned scheduler_surveys_at_once(const struct scheduler *scheduler)
{
    unsigned surveyed = HASH_COUNT(scheduler->queue.runs) + HASH_COUNT(scheduler->workers.workers) +
                        HASH_COUNT(scheduler->leases.leases);
    unsigned at_once = SURVEYED_AT_ONCE / (surveyed + 1);
    return at_once < 1 ? 1 : at_once > SURVEYS_AT_ONCE ? SURVEYS_AT_ONCE : at_once;
}

void scheduler_destroy(struct scheduler *scheduler)
{
    scheduler_clear(scheduler);
    kept_deadlines_clear(&scheduler->kept_deadlines);
    supersede_table_destroy(&scheduler->supersedes);
    webhook_event_list_clear(&scheduler->webhooks.unrecorded);
    history_table_clear(&scheduler->history);
    job_times_table_clear(&scheduler->job_times);
    memset(scheduler, 0, sizeof *scheduler);
}

static struct command *scheduler_append_command(struct scheduler *scheduler, enum command_kind kind)
{
    return command_list_append(&scheduler->commands, kind, scheduler->generation);
}

void scheduler_insert_lease(struct scheduler *scheduler, const struct lease_insert *lease)
{
    scheduler_append_command(scheduler, COMMAND_INSERT_LEASE)->lease = *lease;
}

void scheduler_insert_result(struct scheduler *scheduler, const struct result *result)
{
    scheduler_append_command(scheduler, COMMAND_INSERT_RESULT)->result = *result;
}

void scheduler_post_callback(struct scheduler *scheduler, struct callback *callback)
{
    scheduler_append_command(scheduler, COMMAND_POST_CALLBACK)->callback = callback;
}

void scheduler_submit(struct scheduler *scheduler, struct db_job *db_job)
{
    scheduler_append_command(scheduler, COMMAND_SUBMIT_DB_JOB)->db_job = db_job;
}

void scheduler_distrust_leadership(struct scheduler *scheduler)
{
    scheduler_append_command(scheduler, COMMAND_DISTRUST_LEADERSHIP);
}

struct db_job *scheduler_db_job(const struct scheduler *scheduler, enum db_job_kind kind)
{
    return db_job_new(kind, scheduler->generation);
}

void scheduler_export_span(struct scheduler *scheduler, const struct span *span)
{
    scheduler_append_command(scheduler, COMMAND_EXPORT_SPAN)->span = *span;
}
