#include "scheduler/rules/missing_graders.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/metrics.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/webhooks.h"
#include "scheduler/state/queue_position.h"

enum { STEP_MS = 2000 };

/* The gauges of each protocol. */
static const struct {
    enum scheduler_metric alive, unserved;
} metrics[PROTOCOLS] = {
#define METRICS(unused, protocol, name, title, ...) \
    {SCHEDULER_WORKERS_ALIVE_##protocol, SCHEDULER_UNSERVED_JOBS_##protocol},
    PROTOCOL_MAP(METRICS, )
#undef METRICS
};

/* Whether no grader of the protocol can take jobs. */
static bool missing_graders_are_missing(const struct scheduler *scheduler,
                                        const uint32_t alive[PROTOCOLS], unsigned protocol)
{
    return alive[protocol] == scheduler->graders.faulty[protocol].count;
}

static void missing_graders_publish(struct scheduler *scheduler, const uint32_t alive[PROTOCOLS])
{
    int64_t faulty = 0;
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        uint64_t queued = queue_protocol_length(&scheduler->queue, (enum protocol)i);
        bool is_unserved = missing_graders_are_missing(scheduler, alive, i);
        metric_set(scheduler->metrics, metrics[i].alive, alive[i]);
        metric_set(scheduler->metrics, metrics[i].unserved, is_unserved ? (int64_t)queued : 0);
        faulty += scheduler->graders.faulty[i].count;
    }
    metric_set(scheduler->metrics, SCHEDULER_WORKERS_FAULTY, faulty);
}

/* Keeps a `since` that is set already, such as the one taken over from the former leader. */
static void missing_graders_classify(struct scheduler *scheduler, const uint32_t alive[PROTOCOLS])
{
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        int64_t *since_ms = &scheduler->graders.since_ms[i];
        if (!missing_graders_are_missing(scheduler, alive, i))
            *since_ms = 0;
        else if (*since_ms == 0)
            *since_ms = scheduler->now_ms;
    }
}

/* Converts `since` to dates of the database's clock. A date that is recorded is kept, while it is
 * about the same: webhooks are told once per date. */
static void missing_graders_date(const struct scheduler *scheduler, int64_t dates_ms[PROTOCOLS])
{
    for (int i = 0; i < PROTOCOLS; i++) {
        int64_t since_ms = scheduler->graders.since_ms[i];
        int64_t recorded_ms = scheduler->graders.recorded_ms[i];
        dates_ms[i] = since_ms == 0 ? 0 : scheduler->date_ms - (scheduler->now_ms - since_ms);
        if (since_ms != 0 && llabs(recorded_ms - dates_ms[i]) < STEP_MS)
            dates_ms[i] = recorded_ms;
    }
}

/* What is recorded of the faults: those of the protocols that have no other grader. */
static void missing_graders_faults(const struct scheduler *scheduler,
                                   struct faulty_workers faulty[PROTOCOLS])
{
    memset(faulty, 0, PROTOCOLS * sizeof *faulty);
    for (int i = 0; i < PROTOCOLS; i++)
        if (scheduler->graders.since_ms[i] != 0)
            faulty[i] = scheduler->graders.faulty[i];
}

/* Dates that differ by less than STEP_MS count as equal: the offset to the database's clock is
 * measured again every second. */
static bool missing_graders_is_recorded(const struct scheduler *scheduler,
                                        const int64_t dates_ms[PROTOCOLS],
                                        const struct faulty_workers faulty[PROTOCOLS])
{
    const struct missing_graders *graders = &scheduler->graders;
    bool is_same = graders->recorded_term == scheduler->term;
    for (int i = 0; i < PROTOCOLS; i++)
        is_same = is_same && (graders->recorded_ms[i] == 0) == (dates_ms[i] == 0) &&
                  llabs(graders->recorded_ms[i] - dates_ms[i]) < STEP_MS &&
                  graders->recorded[i].count == faulty[i].count &&
                  strcmp(graders->recorded[i].fault, faulty[i].fault) == 0;
    return is_same;
}

static void missing_graders_record(struct scheduler *scheduler)
{
    struct missing_graders *graders = &scheduler->graders;
    int64_t dates_ms[PROTOCOLS];
    struct faulty_workers faulty[PROTOCOLS];
    missing_graders_date(scheduler, dates_ms);
    missing_graders_faults(scheduler, faulty);
    if (graders->is_in_flight || missing_graders_is_recorded(scheduler, dates_ms, faulty))
        return;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_NOTE_GRADERS);
    db_job->graders.term = scheduler->term;
    memcpy(db_job->graders.holder, scheduler->settings.holder, sizeof db_job->graders.holder);
    memcpy(db_job->graders.since_ms, dates_ms, sizeof db_job->graders.since_ms);
    memcpy(db_job->graders.faulty, faulty, sizeof db_job->graders.faulty);
    graders->is_in_flight = true;
    scheduler_submit(scheduler, db_job);
}

void missing_graders_take_over(struct scheduler *scheduler, const struct leader *leader)
{
    for (int i = 0; i < PROTOCOLS; i++) {
        int64_t date_ms = leader->no_grader_since_ms[i];
        int64_t age_ms = scheduler->date_ms - date_ms;
        scheduler->graders.recorded_ms[i] = date_ms;
        scheduler->graders.since_ms[i] = date_ms == 0
                                             ? 0
                                             : scheduler->now_ms - (age_ms > 0 ? age_ms : 0);
    }
}

void missing_graders_count(struct scheduler *scheduler)
{
    uint32_t alive[PROTOCOLS] = {0};
    worker_table_count(&scheduler->workers, alive);
    worker_table_faulty(&scheduler->workers, scheduler->graders.faulty);
    missing_graders_publish(scheduler, alive);
    missing_graders_classify(scheduler, alive);
    missing_graders_record(scheduler);
    for (int i = 0; i < PROTOCOLS; i++)
        if (alive[i] == 0 && scheduler->graders.recorded_term == scheduler->term)
            webhooks_check_missing(scheduler, (enum protocol)i, scheduler->graders.recorded_ms[i]);
}

void missing_graders_completed(struct scheduler *scheduler, const struct db_job *db_job)
{
    struct missing_graders *graders = &scheduler->graders;
    graders->is_in_flight = false;
    if (db_job->code != BW_OK)
        return; /* the next count records it again */
    graders->recorded_term = db_job->graders.term;
    memcpy(graders->recorded_ms, db_job->graders.since_ms, sizeof graders->recorded_ms);
    memcpy(graders->recorded, db_job->graders.faulty, sizeof graders->recorded);
}
