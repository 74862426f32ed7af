/*
 * grader_presence: of which protocol no grader is alive, counted now and then and recorded in the
 * leader's document, so that every replica can say of a run what it waits for.
 */
#include <string.h>

#include "scheduler/core/core.h"
#include "scheduler/state/queue_position.h"
#include "scheduler/metrics.h"

static void presence_publish(struct core *core, const uint32_t alive[PROTOCOLS])
{
    uint64_t classic = queue_course_length(&core->queue, "");
    uint64_t queued[PROTOCOLS] = {
        [PROTOCOL_CLASSIC] = classic,
        [PROTOCOL_COURSE] = queue_length(&core->queue) - classic,
    };
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        metric_set(core->metrics, SCHEDULER_WORKERS_ALIVE_CLASSIC + i, alive[i]);
        metric_set(core->metrics, SCHEDULER_UNSERVED_JOBS_CLASSIC + i,
                   alive[i] == 0 ? (int64_t)queued[i] : 0);
    }
}

/* A leader goes on with what the one before it has said. */
static void presence_judge(struct core *core, const uint32_t alive[PROTOCOLS])
{
    for (int i = 0; i < PROTOCOLS; i++) {
        int64_t *since_ms = &core->graders.since_ms[i];
        if (alive[i] > 0)
            *since_ms = 0;
        else if (*since_ms == 0)
            *since_ms = database_now_ms(core->database);
    }
}

static void presence_record(struct core *core)
{
    struct grader_presence *graders = &core->graders;
    bool is_known = graders->recorded_term == core->term &&
                    memcmp(graders->recorded_ms, graders->since_ms, sizeof graders->since_ms) == 0;
    if (is_known || graders->is_under_way)
        return;
    struct db_job *db_job = db_job_new(DB_JOB_NOTE_GRADERS, core->generation);
    db_job->graders.term = core->term;
    memcpy(db_job->graders.holder, core->holder, sizeof db_job->graders.holder);
    memcpy(db_job->graders.since_ms, graders->since_ms, sizeof db_job->graders.since_ms);
    graders->is_under_way = true;
    db_jobs_submit(core->db_jobs, db_job);
}

void grader_presence_count(struct core *core)
{
    uint32_t alive[PROTOCOLS] = {0};
    worker_table_count(&core->workers, alive);
    presence_publish(core, alive);
    presence_judge(core, alive);
    presence_record(core);
}

void grader_presence_noted(struct core *core, const struct db_job *db_job)
{
    struct grader_presence *graders = &core->graders;
    graders->is_under_way = false;
    if (db_job->code != BW_OK)
        return; /* the next count tries again */
    graders->recorded_term = db_job->graders.term;
    memcpy(graders->recorded_ms, db_job->graders.since_ms, sizeof graders->recorded_ms);
}
