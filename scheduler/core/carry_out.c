/*
 * carry_out: passes the commands that the rules left to the threads that carry them out. The
 * outcome of each command comes back to the inbox as an event.
 */
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/otlp.h"
#include "scheduler/core/core.h"

enum {
    TRY_MS = 60000 /* inserts are retried for longer than trust in the leadership lasts */
};

/* An insert in flight, with the data for the event of its completion. */
struct pending_lease {
    struct lease_commit commit; /* first */
    struct inbox *inbox;
    int64_t generation;
    struct lease_insert insert;
};

struct pending_result {
    struct result_commit commit; /* first */
    struct inbox *inbox;
    int64_t generation;
};

/* On the store's thread. */
static void carry_out_lease_completed(struct lease_commit *commit, enum commit_outcome outcome,
                                      const struct lease *existing)
{
    (void)existing;
    struct pending_lease *pending = (struct pending_lease *)commit;
    struct event *event = event_new(EVENT_LEASED, pending->generation);
    event->leased.insert = pending->insert;
    event->leased.outcome = outcome;
    inbox_post(pending->inbox, event);
    free(pending);
}

static bool carry_out_is_post(const struct lease *lease)
{
    struct job_id job;
    return job_id_parse(lease->job, &job) && job.kind == JOB_POST;
}

static void carry_out_insert_lease(struct core *core, const struct command *command)
{
    if (FAILPOINT_IS_SET("before_post_lease") && carry_out_is_post(&command->lease.lease))
        FAILPOINT("before_post_lease");
    struct pending_lease *pending = bw_alloc(sizeof *pending);
    pending->inbox = core->inbox;
    pending->generation = command->generation;
    pending->insert = command->lease;
    pending->commit.lease = command->lease.lease;
    pending->commit.completed = carry_out_lease_completed;
    lease_store_insert(core->lease_store, &pending->commit, TRY_MS);
}

/* On the store's thread. */
static void carry_out_result_completed(struct result_commit *commit, enum commit_outcome outcome,
                                       const struct result *existing)
{
    struct pending_result *pending = (struct pending_result *)commit;
    struct event *event = event_new(EVENT_GIVEN_UP, pending->generation);
    event->given_up.result = existing != NULL ? *existing : commit->result;
    event->given_up.inserted = commit->result.outcome;
    event->given_up.outcome = outcome;
    inbox_post(pending->inbox, event);
    free(pending);
}

static void carry_out_insert_result(struct core *core, const struct command *command)
{
    struct pending_result *pending = bw_alloc(sizeof *pending);
    pending->inbox = core->inbox;
    pending->generation = command->generation;
    pending->commit.result = command->result;
    pending->commit.completed = carry_out_result_completed;
    result_store_insert(core->results, &pending->commit, TRY_MS);
}

static void carry_out_post_callback(struct core *core, struct command *command)
{
    if (command->callback->sent_count > 0)
        FAILPOINT("before_callbacks");
    callbacks_post(core->callbacks, command->callback);
    command->callback = NULL;
}

static void carry_out_submit_db_job(struct core *core, struct command *command)
{
    db_jobs_submit(core->db_jobs, command->db_job);
    command->db_job = NULL;
}

static void carry_out(struct core *core, struct command *command)
{
    switch (command->kind) {
    case COMMAND_INSERT_LEASE:
        carry_out_insert_lease(core, command);
        break;
    case COMMAND_INSERT_RESULT:
        carry_out_insert_result(core, command);
        break;
    case COMMAND_POST_CALLBACK:
        carry_out_post_callback(core, command);
        break;
    case COMMAND_SUBMIT_DB_JOB:
        carry_out_submit_db_job(core, command);
        break;
    case COMMAND_DISTRUST_LEADERSHIP:
        leadership_distrust(core->leadership);
        break;
    case COMMAND_EXPORT_SPAN:
        otlp_add(core->otlp, &command->span);
        break;
    }
    command_free(command);
}

void core_carry_out(struct core *core)
{
    struct command_list *commands = &core->scheduler.commands;
    for (struct command *command = command_list_take(commands); command != NULL;
         command = command_list_take(commands))
        carry_out(core, command);
}
