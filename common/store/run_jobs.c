#include "common/store/run_jobs.h"

#include <string.h>

const char *run_slot_job_id(const struct run *run, uint32_t slot, char id[JOB_ID_SIZE])
{
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->has_pre, run->students, slot, &kind, &index);
    return job_id_make(run->id, kind, index, id);
}

bool run_job_id_slot(const struct run *run, const char *id, uint32_t *slot)
{
    struct job_id job;
    return job_id_parse(id, &job) && strcmp(job.run, run->id) == 0 &&
           run_job_slot(run->has_pre, run->students, run->has_post, job.kind, job.index, slot);
}

bool run_has_lone_ends(const struct run *run)
{
    return run->job_cancels > 0 || run->has_keys;
}
