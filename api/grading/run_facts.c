#include "api/grading/run_facts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/store/job_leases.h"
#include "common/store/job_results.h"
#include "common/store/run_jobs.h"

struct reading {
    const struct run_facts_sources *sources;
    const struct run *run;
    struct job_fact *facts;
    int64_t last_result_ms;
    struct lease returned; /* the latest of the leases that were returned */
    struct bw_error *error;
};

/* ---- Leases ---- */

static void run_facts_take_lease(uint32_t slot, const struct lease *lease, void *context)
{
    struct reading *reading = context;
    struct job_fact *fact = &reading->facts[slot];
    fact->attempts += lease->end != LEASE_RELEASED && lease->end != LEASE_RETURNED;
    fact->is_live = fact->is_live || lease->end == LEASE_LIVE;
    if (lease->end != LEASE_RETURNED)
        return;
    fact->is_returned = true;
    if (lease->leased_ms >= reading->returned.leased_ms)
        reading->returned = *lease;
}

static struct job_leases run_facts_leases(struct reading *reading)
{
    return (struct job_leases){.store = reading->sources->leases,
                               .run = reading->run,
                               .take = run_facts_take_lease,
                               .context = reading};
}

/* Reads the further attempts of jobs whose first attempt has ended. Overwrites `slots`. */
static enum bw_code read_later_leases(struct reading *reading, struct slot_list *slots)
{
    const struct job_leases leases = run_facts_leases(reading);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slots->count; i++)
        if (!reading->facts[slots->items[i]].is_live)
            slots->items[kept++] = slots->items[i];
    slots->count = kept;
    return job_leases_read_on(&leases, slots, 2, reading->error);
}

/* ---- Results ---- */

static void run_facts_take_result(uint32_t slot, const struct result *result, void *context)
{
    struct reading *reading = context;
    reading->facts[slot].outcome = result->outcome;
    reading->facts[slot].owner = result->owner;
    if (result->finished_ms > reading->last_result_ms)
        reading->last_result_ms = result->finished_ms;
}

static enum bw_code run_facts_read_results(struct reading *reading, const struct slot_list *slots)
{
    const struct job_results results = {.store = reading->sources->results,
                                        .run = reading->run,
                                        .take = run_facts_take_result,
                                        .context = reading};
    return job_results_read(&results, slots, reading->error);
}

/* ---- The order of the reads ---- */

/* Moves the jobs that were cancelled or superseded from `slots` to `cancelled`, which has room for
 * all. Some of them were never handed out, and would be a gap between the others. */
static void split_cancelled(const struct reading *reading, struct slot_list *slots,
                            struct slot_list *cancelled)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slots->count; i++) {
        uint32_t slot = slots->items[i];
        if (reading->facts[slot].outcome >= OUTCOME_CANCELLED)
            cancelled->items[cancelled->count++] = slot;
        else
            slots->items[kept++] = slot;
    }
    slots->count = kept;
}

/* Reads the facts of those of `slots` that were cancelled alone or superseded, and removes them
 * from it. */
static enum bw_code read_cancelled(struct reading *reading, struct slot_list *slots)
{
    const struct job_leases leases = run_facts_leases(reading);
    if (!run_has_lone_ends(reading->run))
        return BW_OK;
    struct slot_list cancelled = {bw_alloc_array(slots->count, sizeof *cancelled.items), 0};
    enum bw_code code = run_facts_read_results(reading, slots);
    split_cancelled(reading, slots, &cancelled);
    if (code == BW_OK)
        code = job_leases_read_on(&leases, &cancelled, 1, reading->error);
    free(cancelled.items);
    return code;
}

/* Reads the facts of the jobs of `kind`, which have `count` slots from `from`. */
static enum bw_code read_kind(struct reading *reading, enum job_kind kind, uint32_t from,
                              uint32_t count)
{
    const struct run *run = reading->run;
    struct slot_list slots = {bw_alloc_array(count, sizeof *slots.items), 0};
    for (uint32_t slot = from; slot < from + count; slot++)
        if (reading->facts[slot].outcome == OUTCOME_NONE)
            slots.items[slots.count++] = slot;
    const struct job_leases leases = run_facts_leases(reading);
    enum bw_code code = read_cancelled(reading, &slots);
    struct slot_list handed_out = {bw_alloc_array(slots.count, sizeof *slots.items), slots.count};
    memcpy(handed_out.items, slots.items, slots.count * sizeof *slots.items);
    if (code == BW_OK && run->has_stages[kind])
        code = job_leases_read_first(&leases, &handed_out, reading->error);
    else
        handed_out.count = 0;
    /* A job can end without being handed out: if it has no stages, or by a cancellation. */
    bool may_end_so = !run->has_stages[kind] || run->cancelled_ms != 0;
    if (code == BW_OK)
        code = run_facts_read_results(reading, may_end_so ? &slots : &handed_out);
    if (code == BW_OK)
        code = read_later_leases(reading, &handed_out);
    free(handed_out.items);
    free(slots.items);
    return code;
}

static bool are_all_done(const struct job_fact *facts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (facts[i].outcome == OUTCOME_NONE)
            return false;
    return true;
}

/* Reads the kinds in order, up to the first one that the run can't have passed yet. */
static enum bw_code read_kinds(struct reading *reading)
{
    const struct run *run = reading->run;
    uint32_t students = run->has_pre ? 1 : 0;
    bool reads_all = run->cancelled_ms != 0 || run_has_lone_ends(run);
    if (run->started_ms == 0)
        return BW_OK;
    if (run->has_pre) {
        enum bw_code code = read_kind(reading, JOB_PRE, 0, 1);
        bool is_passed = reading->facts[0].outcome == OUTCOME_SUCCEEDED || reads_all;
        if (code != BW_OK || !is_passed)
            return code;
    }
    enum bw_code code = read_kind(reading, JOB_STUDENT, students, run->students);
    bool is_passed = are_all_done(reading->facts + students, run->students) || reads_all;
    if (code != BW_OK || !is_passed || !run->has_post)
        return code;
    return read_kind(reading, JOB_POST, students + run->students, 1);
}

static void take_summary(const struct run *run, struct job_fact *facts, uint32_t count)
{
    enum job_kind kind;
    uint32_t index;
    for (uint32_t slot = 0; slot < count && slot < run->summary_length; slot++) {
        facts[slot].outcome = summary_outcome(run->summary[slot]);
        if (facts[slot].outcome != OUTCOME_NONE)
            facts[slot].attempts = summary_attempts(run->summary[slot]);
        run_slot_job(run->has_pre, run->students, slot, &kind, &index);
        facts[slot].owner = summary_owner(run->summary[slot], kind);
    }
}

enum bw_code run_facts_read(const struct run_facts_sources *sources, const struct run *run,
                            struct run_facts_found *found, struct bw_error *error)
{
    struct run_facts_found result = {
        .count = run_job_count(run->has_pre, run->students, run->has_post)};
    result.jobs = bw_alloc_array(result.count, sizeof *result.jobs);
    struct reading reading = {.sources = sources, .run = run, .facts = result.jobs, .error = error};
    take_summary(run, result.jobs, result.count);
    enum bw_code code = read_kinds(&reading);
    result.last_result_ms = reading.last_result_ms;
    memcpy(result.reason, reading.returned.reason, sizeof result.reason);
    if (code == BW_OK)
        *found = result;
    else
        run_facts_clear(&result);
    return code;
}

void run_facts_clear(struct run_facts_found *found)
{
    free(found->jobs);
    found->jobs = NULL;
    found->count = 0;
}
