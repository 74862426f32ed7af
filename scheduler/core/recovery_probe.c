/*
 * recovery_probe: of a deep queue most runs have never had a job handed out. Recovery finds them by
 * the leases of their first jobs, many runs in one question, and reads nothing else of them.
 */
#include <stdlib.h>

#include "scheduler/core/core.h"

enum {
    PROBE = 16, /* jobs of a run that tell whether any of its phase was ever handed out */
    PROBES_AT_ONCE = 1024
};

struct probe {
    struct core *core;
    char (*jobs)[JOB_ID_SIZE];
    uint32_t count;
};

static void note_touched(const struct lease *lease, void *context)
{
    const struct core *core = context;
    struct job_id job;
    struct active_run *run = job_id_parse(lease->job, &job) ? queue_find(&core->queue, job.run)
                                                            : NULL;
    if (run != NULL)
        run->has_no_leases = false;
}

static enum bw_code probe_send(struct probe *probe, struct bw_error *error)
{
    uint32_t count = probe->count;
    probe->count = 0;
    return lease_store_read(probe->core->lease_store, (const char(*)[JOB_ID_SIZE])probe->jobs,
                            count, 1, 1, note_touched, probe->core, error);
}

/* Asks for the leases of the first jobs of the run's phase, with those of other runs. */
static enum bw_code probe_run(struct probe *probe, struct active_run *run, struct bw_error *error)
{
    enum run_phase phase = run_current_phase(run);
    uint32_t first, end;
    if (run_phase_is_over(phase) || run->run.cancelled_ms != 0 ||
        !run->run.has_stages[run_phase_kind(phase)])
        return BW_OK;
    run_phase_slots(run, phase, &first, &end);
    end = end - first < PROBE ? end : first + PROBE;
    for (uint32_t slot = first; slot < end; slot++)
        if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE)
            return BW_OK;
    run->has_no_leases = true;
    for (uint32_t slot = first; slot < end; slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
        job_id_make(run->run.id, kind, index, probe->jobs[probe->count++]);
    }
    return probe->count > PROBES_AT_ONCE - PROBE ? probe_send(probe, error) : BW_OK;
}

/* First attempts are handed out in order, so a run without any among its first jobs has none behind
 * them either. (Unless a bulk was carried out in part: then the key refuses the second lease of
 * that job, the next recovery finds the run touched, and reads all of it.) */
enum bw_code recovery_probe_find(struct core *core, struct bw_error *error)
{
    struct probe probe = {.core = core, .jobs = malloc(PROBES_AT_ONCE * sizeof *probe.jobs)};
    enum bw_code code = BW_OK;
    struct active_run *run, *following;
    if (probe.jobs == NULL)
        abort();
    HASH_ITER (hh, core->queue.runs, run, following)
        if (code == BW_OK)
            code = probe_run(&probe, run, error);
    if (code == BW_OK && probe.count > 0)
        code = probe_send(&probe, error);
    free(probe.jobs);
    return code;
}
