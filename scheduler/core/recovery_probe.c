/*
 * recovery_probe: most runs of a deep queue have never had a job handed out. Recovery finds them by
 * the leases of their first jobs, many runs in one query, and reads nothing else of them.
 */
#include "common/store/job_leases.h"
#include "scheduler/core/core.h"
#include "scheduler/rules/run_progress.h"

/* Jobs of a run that tell whether any of its phase was ever handed out. */
enum { PROBE = 16 };

static void note_touched(const char *id, void *context)
{
    const struct core *core = context;
    struct active_run *run = queue_find(&core->scheduler.queue, id);
    if (run != NULL)
        run->has_no_leases = false;
}

/* Asks for the leases of the first jobs of the run's phase, with those of other runs. */
static enum bw_code probe_run(struct job_leases_probe *probe, struct active_run *run,
                              struct bw_error *error)
{
    enum run_phase phase = run_current_phase(run);
    uint32_t first, end;
    if (run_phase_is_over(phase) || run->run.cancelled_ms != 0 || run->run.job_cancels > 0 ||
        !run->run.has_stages[run_phase_kind(phase)])
        return BW_OK;
    run_phase_slots(run, phase, &first, &end);
    end = end - first < PROBE ? end : first + PROBE;
    for (uint32_t slot = first; slot < end; slot++)
        if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE)
            return BW_OK;
    run->has_no_leases = true;
    return job_leases_probe_add(probe, &run->run, first, end, error);
}

/* First attempts are handed out in order, so a run without a lease among its first jobs has none
 * for later jobs either. The exception is a bulk insert that was carried out in part. In that case
 * the unique key refuses the second lease of that job, the scheduler recovers, finds a lease among
 * the first jobs, and reads the whole run. */
enum bw_code recovery_probe_find(struct core *core, struct bw_error *error)
{
    struct job_leases_probe probe = {
        .store = core->lease_store, .take = note_touched, .context = core};
    enum bw_code code = BW_OK;
    struct active_run *run, *following;
    HASH_ITER (hh, core->scheduler.queue.runs, run, following)
        if (code == BW_OK)
            code = probe_run(&probe, run, error);
    if (code == BW_OK)
        code = job_leases_probe_flush(&probe, error);
    job_leases_probe_clear(&probe);
    return code;
}
