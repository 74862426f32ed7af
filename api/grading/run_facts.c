#include "api/grading/run_facts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum {
    LEASE_CHUNK = 256, /* more than a batch of the scheduler's leases: no gap can be as long */
    RESULT_CHUNK = 1000,
    LATER_WINDOW = 3 /* attempts after the first that are read at once */
};

struct reading {
    const struct run_facts_sources *sources;
    const struct run *run;
    struct job_fact *facts;
    uint8_t *seen;  /* by slot: leases found by the last lease reading */
    uint32_t found; /* leases found by it in all */
    int64_t last_result_ms;
    struct bw_error *error;
};

/* A list of slots. */
struct slots {
    uint32_t *items;
    uint32_t count;
};

static void *run_facts_allocate(size_t count, size_t size)
{
    void *memory = bw_alloc_array(count + 1, size);
    return memory;
}

static bool slot_of(const struct run *run, const char *job, uint32_t *slot)
{
    struct job_id id;
    return job_id_parse(job, &id) &&
           run_job_slot(run->has_pre, run->students, run->has_post, id.kind, id.index, slot);
}

static void make_ids(const struct run *run, const uint32_t *slots, uint32_t count,
                     char (*ids)[JOB_ID_SIZE])
{
    for (uint32_t i = 0; i < count; i++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->has_pre, run->students, slots[i], &kind, &index);
        job_id_make(run->id, kind, index, ids[i]);
    }
}

/* ---- Leases ---- */

static void run_facts_take_lease(const struct lease *lease, void *context)
{
    struct reading *reading = context;
    uint32_t slot;
    if (!slot_of(reading->run, lease->job, &slot))
        return;
    struct job_fact *fact = &reading->facts[slot];
    reading->seen[slot]++;
    reading->found++;
    fact->attempts += lease->end != LEASE_RELEASED;
    fact->is_live = fact->is_live || lease->end == LEASE_LIVE;
}

/* Reads attempts first..first+window-1 of at most LEASE_CHUNK jobs. */
static enum bw_code run_facts_read_leases(struct reading *reading, const uint32_t *slots,
                                          uint32_t count, uint32_t first, uint32_t window)
{
    char ids[LEASE_CHUNK][JOB_ID_SIZE];
    make_ids(reading->run, slots, count, ids);
    for (uint32_t i = 0; i < count; i++)
        reading->seen[slots[i]] = 0;
    reading->found = 0;
    return lease_store_read(reading->sources->leases, (const char(*)[JOB_ID_SIZE])ids, count, first,
                            window, run_facts_take_lease, reading, reading->error);
}

static uint32_t chunk_of(uint32_t rest, uint32_t limit)
{
    return rest < limit ? rest : limit;
}

/* Reads first attempts, and cuts `slots` to the jobs that have one. */
static enum bw_code read_first_leases(struct reading *reading, struct slots *slots)
{
    uint32_t kept = 0;
    for (uint32_t at = 0; at < slots->count; at += LEASE_CHUNK) {
        uint32_t count = chunk_of(slots->count - at, LEASE_CHUNK);
        enum bw_code code = run_facts_read_leases(reading, slots->items + at, count, 1, 1);
        if (code != BW_OK)
            return code;
        if (reading->found == 0)
            break;
        for (uint32_t i = at; i < at + count; i++)
            if (reading->seen[slots->items[i]] > 0)
                slots->items[kept++] = slots->items[i];
    }
    slots->count = kept;
    return BW_OK;
}

/* Keeps the jobs that may have attempts after those just read: all `window` were there, and the
 * last has ended. */
static uint32_t keep_unfinished(const struct reading *reading, uint32_t *slots, uint32_t count,
                                uint32_t window)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (reading->seen[slots[i]] == window && !reading->facts[slots[i]].is_live)
            slots[kept++] = slots[i];
    return kept;
}

/* Reads on for the jobs whose first attempt has ended. Uses `slots` up. */
static enum bw_code read_later_leases(struct reading *reading, struct slots *slots)
{
    uint32_t total = keep_unfinished(reading, slots->items, slots->count, 1);
    for (uint32_t at = 0; at < total; at += LEASE_CHUNK) {
        uint32_t *chunk = slots->items + at;
        uint32_t count = chunk_of(total - at, LEASE_CHUNK);
        for (uint32_t first = 2; count > 0; first += LATER_WINDOW) {
            enum bw_code code = run_facts_read_leases(reading, chunk, count, first, LATER_WINDOW);
            if (code != BW_OK)
                return code;
            count = keep_unfinished(reading, chunk, count, LATER_WINDOW);
        }
    }
    return BW_OK;
}

/* ---- Results ---- */

static void run_facts_take_result(const struct result *result, void *context)
{
    struct reading *reading = context;
    uint32_t slot;
    if (!slot_of(reading->run, result->job, &slot))
        return;
    reading->facts[slot].outcome = result->outcome;
    if (result->finished_ms > reading->last_result_ms)
        reading->last_result_ms = result->finished_ms;
}

static enum bw_code run_facts_read_results(struct reading *reading, const struct slots *slots)
{
    char(*ids)[JOB_ID_SIZE] = run_facts_allocate(RESULT_CHUNK, sizeof *ids);
    enum bw_code code = BW_OK;
    for (uint32_t at = 0; at < slots->count && code == BW_OK; at += RESULT_CHUNK) {
        uint32_t count = chunk_of(slots->count - at, RESULT_CHUNK);
        make_ids(reading->run, slots->items + at, count, ids);
        code = result_store_read(reading->sources->results, (const char(*)[JOB_ID_SIZE])ids, count,
                                 false, run_facts_take_result, reading, reading->error);
    }
    free(ids);
    return code;
}

/* ---- In order ---- */

/* Reads the jobs of `kind`, which stand at `count` slots from `from`. */
static enum bw_code read_kind(struct reading *reading, enum job_kind kind, uint32_t from,
                              uint32_t count)
{
    const struct run *run = reading->run;
    struct slots slots = {run_facts_allocate(count, sizeof *slots.items), 0};
    for (uint32_t slot = from; slot < from + count; slot++)
        if (reading->facts[slot].outcome == OUTCOME_NONE)
            slots.items[slots.count++] = slot;
    struct slots handed_out = {run_facts_allocate(slots.count, sizeof *slots.items), slots.count};
    memcpy(handed_out.items, slots.items, slots.count * sizeof *slots.items);
    enum bw_code code = BW_OK;
    if (run->has_stages[kind])
        code = read_first_leases(reading, &handed_out);
    else
        handed_out.count = 0;
    /* Without stages or by a cancellation a job may end that was never handed out. */
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

/* Kind by kind, as far as the run can have come. */
static enum bw_code read_kinds(struct reading *reading)
{
    const struct run *run = reading->run;
    uint32_t students = run->has_pre ? 1 : 0;
    if (run->started_ms == 0)
        return BW_OK;
    if (run->has_pre) {
        enum bw_code code = read_kind(reading, JOB_PRE, 0, 1);
        bool is_passed = reading->facts[0].outcome == OUTCOME_SUCCEEDED || run->cancelled_ms != 0;
        if (code != BW_OK || !is_passed)
            return code;
    }
    enum bw_code code = read_kind(reading, JOB_STUDENT, students, run->students);
    bool is_passed = are_all_done(reading->facts + students, run->students) ||
                     run->cancelled_ms != 0;
    if (code != BW_OK || !is_passed || !run->has_post)
        return code;
    return read_kind(reading, JOB_POST, students + run->students, 1);
}

static void take_summary(const struct run *run, struct job_fact *facts, uint32_t count)
{
    for (uint32_t slot = 0; slot < count && slot < run->summary_length; slot++) {
        facts[slot].outcome = summary_outcome(run->summary[slot]);
        if (facts[slot].outcome != OUTCOME_NONE)
            facts[slot].attempts = summary_attempts(run->summary[slot]);
    }
}

enum bw_code run_facts_read(const struct run_facts_sources *sources, const struct run *run,
                            struct run_facts_found *found, struct bw_error *error)
{
    struct run_facts_found result = {
        .count = run_job_count(run->has_pre, run->students, run->has_post)};
    result.jobs = run_facts_allocate(result.count, sizeof *result.jobs);
    struct reading reading = {.sources = sources, .run = run, .facts = result.jobs, .error = error};
    reading.seen = run_facts_allocate(result.count, sizeof *reading.seen);
    take_summary(run, result.jobs, result.count);
    enum bw_code code = read_kinds(&reading);
    free(reading.seen);
    result.last_result_ms = reading.last_result_ms;
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
