/*
 * grader_presence: of which protocol no grader is alive, counted now and then and recorded in the
 * leader's document, so that every replica can say of a run what it waits for.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "scheduler/core/core.h"
#include "scheduler/state/queue_position.h"
#include "scheduler/metrics.h"

enum { STEP_MS = 2000 };

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
            *since_ms = core->now_ms;
    }
}

/* When that was, as the database's clock says it now. */
static void presence_date(const struct core *core, int64_t dates_ms[PROTOCOLS])
{
    for (int i = 0; i < PROTOCOLS; i++) {
        int64_t since_ms = core->graders.since_ms[i];
        dates_ms[i] = since_ms == 0 ? 0
                                    : database_now_ms(core->database) - (core->now_ms - since_ms);
    }
}

/* Dates that differ by less than STEP_MS are the same: the clock is read anew all the time. */
static bool presence_is_recorded(const struct core *core, const int64_t dates_ms[PROTOCOLS])
{
    const struct grader_presence *graders = &core->graders;
    bool is_same = graders->recorded_term == core->term;
    for (int i = 0; i < PROTOCOLS; i++)
        is_same = is_same && (graders->recorded_ms[i] == 0) == (dates_ms[i] == 0) &&
                  llabs(graders->recorded_ms[i] - dates_ms[i]) < STEP_MS;
    return is_same;
}

static void presence_record(struct core *core)
{
    struct grader_presence *graders = &core->graders;
    int64_t dates_ms[PROTOCOLS];
    presence_date(core, dates_ms);
    if (graders->is_under_way || presence_is_recorded(core, dates_ms))
        return;
    struct db_job *db_job = db_job_new(DB_JOB_NOTE_GRADERS, core->generation);
    db_job->graders.term = core->term;
    memcpy(db_job->graders.holder, core->holder, sizeof db_job->graders.holder);
    memcpy(db_job->graders.since_ms, dates_ms, sizeof db_job->graders.since_ms);
    graders->is_under_way = true;
    db_jobs_submit(core->db_jobs, db_job);
}

void grader_presence_take_over(struct core *core, const struct leader *leader)
{
    for (int i = 0; i < PROTOCOLS; i++) {
        int64_t date_ms = leader->no_grader_since_ms[i];
        int64_t age_ms = database_now_ms(core->database) - date_ms;
        core->graders.since_ms[i] = date_ms == 0 ? 0 : clock_boot_ms() - (age_ms > 0 ? age_ms : 0);
    }
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
