#include "scheduler/rules/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/options.h"
#include "scheduler/metrics.h"

enum {
    AGE_PAUSE_MS = 60000,
    SHORTEST_MS = 500,
    LONGEST_MS = 5000,
    LEASES_AT_ONCE = 512,
    SIGN_OF_LIFE_MS = 2500, /* every replica sends one more often */
    SIGNALS_PAUSE_MS = 400, /* polls wait, some of them for a second only */
    SIGNALS_OVERLAP_MS = 5000,
    COUNTS_PAUSE_MS = 5000,
    COUNTS_AT_ONCE = 32
};

void sweep_reset(struct sweep *sweep)
{
    free(sweep->missed);
    memset(sweep, 0, sizeof *sweep);
}

static int64_t interval_ms(const struct core *core)
{
    int64_t half_ms = core->heartbeat_ms / 2;
    if (half_ms < SHORTEST_MS)
        return SHORTEST_MS;
    return half_ms < LONGEST_MS ? half_ms : LONGEST_MS;
}

static void look_for_runs(struct core *core)
{
    core->sweep.under_way++;
    chores_submit(core->chores, chore_new(CHORE_FIND_RUNS, core->generation));
}

/* Some of the leased jobs each time, one part after the other. Those that were handed out a moment
 * ago need no look. */
static void look_for_results(struct core *core)
{
    struct chore *chore = chore_new(CHORE_FIND_RESULTS, core->generation);
    const struct live_lease *lease, *following;
    size_t at = 0, first = core->sweep.first_lease;
    chore->wanted.jobs = calloc(LEASES_AT_ONCE, sizeof *chore->wanted.jobs);
    if (chore->wanted.jobs == NULL)
        abort();
    HASH_ITER (hh, core->leases.leases, lease, following) {
        if (at++ < first || core->now_ms - lease->leased_ms < interval_ms(core))
            continue;
        if (chore->wanted.count == LEASES_AT_ONCE)
            break;
        memcpy(chore->wanted.jobs[chore->wanted.count++], lease->job, JOB_ID_SIZE);
    }
    core->sweep.first_lease = chore->wanted.count == LEASES_AT_ONCE ? at - 1 : 0;
    if (chore->wanted.count == 0) {
        chore_free(chore);
        return;
    }
    core->sweep.under_way++;
    chores_submit(core->chores, chore);
}

/* Old runs: every minute, or more often where they are kept for less than ten. */
static void look_for_old_runs(struct core *core)
{
    int64_t retain_ms = core->options->retain_runs_ms;
    int64_t pause_ms = retain_ms / 10 < AGE_PAUSE_MS ? retain_ms / 10 : AGE_PAUSE_MS;
    if (retain_ms == 0 || core->now_ms - core->sweep.aged_ms < pause_ms)
        return;
    core->sweep.aged_ms = core->now_ms;
    struct chore *chore = chore_new(CHORE_REMOVE_RUNS, core->generation);
    chore->removed.now_ms = database_now_ms(core->database);
    chore->removed.before_ms = chore->removed.now_ms - retain_ms;
    chore->removed.job_timeout_ms = core->job_timeout_ms;
    core->sweep.under_way++;
    chores_submit(core->chores, chore);
}

static void look_for_orphans(struct core *core)
{
    if (core->sweep.orphaned_ms == 0)
        core->sweep.orphaned_ms = core->now_ms; /* the start is busy enough */
    if (core->now_ms - core->sweep.orphaned_ms < core->options->orphan_age_ms)
        return;
    core->sweep.orphaned_ms = core->now_ms;
    core->sweep.under_way++;
    chores_submit(core->chores, chore_new(CHORE_REMOVE_ORPHANS, core->generation));
}

/* A stream that brings no signal for longer than a replica is ever silent has lost them, or there
 * are none: then they are read. What was heard before is told by its number. */
static void look_for_signals(struct core *core)
{
    int64_t silence_ms = core->heartbeat_ms < SIGN_OF_LIFE_MS ? core->heartbeat_ms
                                                              : SIGN_OF_LIFE_MS;
    if (core->sweep.streamed_ms == 0)
        core->sweep.streamed_ms = core->now_ms;
    if (core->sweep.is_looking || core->now_ms - core->sweep.streamed_ms < silence_ms ||
        core->now_ms - core->sweep.heard_ms < SIGNALS_PAUSE_MS)
        return;
    core->sweep.heard_ms = core->now_ms;
    core->sweep.is_looking = true;
    struct chore *chore = chore_new(CHORE_FIND_SIGNALS, core->generation);
    chore->unheard.since_ms = database_now_ms(core->database) - SIGNALS_OVERLAP_MS;
    chores_submit(core->chores, chore);
}

/* Counts that no mark has recorded would be lost with this leader. Each is an update of its own, so
 * some workers' each time, one part after the other. */
static void record_counts(struct core *core)
{
    struct known_worker *worker, *following;
    size_t at = 0, recorded = 0, first = core->sweep.first_worker;
    if (core->now_ms - core->sweep.counted_ms < COUNTS_PAUSE_MS)
        return;
    core->sweep.counted_ms = core->now_ms;
    HASH_ITER (hh, core->workers.workers, worker, following) {
        if (at++ < first || worker->epoch == 0 || worker->jobs_recorded == worker->jobs_processed)
            continue;
        if (recorded == COUNTS_AT_ONCE)
            break;
        record_worker(core, worker);
        recorded++;
    }
    core->sweep.first_worker = recorded == COUNTS_AT_ONCE ? at - 1 : 0;
}

void sweep_tick(struct core *core)
{
    look_for_signals(core);
    record_counts(core);
    if (core->sweep.under_way > 0 || core->now_ms - core->sweep.begun_ms < interval_ms(core))
        return;
    core->sweep.begun_ms = core->now_ms;
    forget_asked_workers(core, core->now_ms - interval_ms(core));
    look_for_runs(core);
    look_for_results(core);
    look_for_old_runs(core);
    look_for_orphans(core);
}

static bool was_missed(const struct sweep *sweep, const char *run_id)
{
    for (size_t i = 0; i < sweep->missed_count; i++)
        if (strcmp(sweep->missed[i], run_id) == 0)
            return true;
    return false;
}

/* A run that the queue lacks may have ended since it was read. Only one that is still active when
 * it is read again has really been missed. */
static void take_runs(struct core *core, struct chore *chore)
{
    char(*missed)[RUN_ID_SIZE] = calloc(chore->found.count + 1, sizeof *missed);
    size_t count = 0;
    if (missed == NULL)
        abort();
    for (size_t i = 0; i < chore->found.count; i++) {
        struct run *run = &chore->found.runs[i];
        if (queue_find(&core->queue, run->id) != NULL) {
            run_changed(core, run);
        } else if (was_missed(&core->sweep, run->id)) {
            log_warning("a started run was found by looking", log_text("run_id", run->id));
            metric_add(core->metrics, SCHEDULER_MISSED, 1);
            run_changed(core, run);
        } else {
            memcpy(missed[count++], run->id, RUN_ID_SIZE);
        }
    }
    free(core->sweep.missed);
    core->sweep.missed = missed;
    core->sweep.missed_count = count;
}

static void take_signals(struct core *core, struct chore *chore)
{
    core->sweep.is_looking = false;
    for (size_t i = 0; i < chore->unheard.count; i++)
        if (hear_signal(core, &chore->unheard.signals[i]))
            metric_add(core->metrics, SCHEDULER_MISSED, 1);
}

void sweep_seen(struct core *core, struct chore *chore)
{
    if (chore->kind == CHORE_FIND_SIGNALS) {
        take_signals(core, chore);
        return;
    }
    core->sweep.under_way--;
    if (chore->code != BW_OK)
        return; /* the next look is as good */
    if (chore->kind == CHORE_FIND_RUNS)
        take_runs(core, chore);
    if (chore->kind == CHORE_REMOVE_RUNS && chore->removed.count > 0)
        log_info("old runs removed", log_number("runs", (int64_t)chore->removed.count));
    if (chore->kind == CHORE_REMOVE_ORPHANS && chore->removed.count > 0)
        log_info("orphans removed", log_number("documents", (int64_t)chore->removed.count));
}
