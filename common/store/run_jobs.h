/*
 * run_jobs: the ids of a run's jobs by their slots (common/domain/run.h), and back. Pure; safe from
 * any thread.
 */
#ifndef COMMON_STORE_RUN_JOBS_H
#define COMMON_STORE_RUN_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/domain/job.h"
#include "common/store/run_store.h"

/* Slots of a run, ascending. */
struct slot_list {
    uint32_t *items;
    uint32_t count;
};

/* Writes the id of the job at `slot`, which is below run_job_count, into `id`, and returns it. */
const char *run_slot_job_id(const struct run *run, uint32_t slot, char id[JOB_ID_SIZE]);

/* The slot of the job with that id. False: it is none of this run. */
bool run_job_id_slot(const struct run *run, const char *id, uint32_t *slot);

/* Whether a job of the run may have a result although it was never handed out, in any phase: jobs
 * of it were cancelled alone, or may be superseded. */
bool run_has_lone_ends(const struct run *run);

#endif
