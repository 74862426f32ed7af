#include "api/grading/job_entry.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/date.h"
#include "common/base/json_write.h"
#include "common/store/job_leases.h"
#include "common/store/job_results.h"

/* ---- Dates, signatures and scores ---- */

struct entry_reading {
    const struct run_facts_sources *sources;
    const struct job_view *view;
    struct job_entry *entries;
    uint32_t count;
    struct bw_error *error;
};

static int job_entry_compare(const void *left, const void *right)
{
    uint32_t a = ((const struct job_entry *)left)->slot,
             b = ((const struct job_entry *)right)->slot;
    return (a > b) - (a < b);
}

/* The entry of that slot; NULL: there is none. */
static struct job_entry *job_entry_find(const struct entry_reading *reading, uint32_t slot)
{
    const struct job_entry key = {.slot = slot};
    return bsearch(&key, reading->entries, reading->count, sizeof key, job_entry_compare);
}

static void job_entry_take_lease(uint32_t slot, const struct lease *lease, void *context)
{
    struct job_entry *entry = job_entry_find(context, slot);
    if (entry != NULL && lease->leased_ms > entry->started_ms)
        entry->started_ms = lease->leased_ms;
}

static void job_entry_take_result(uint32_t slot, const struct result *result, void *context)
{
    struct job_entry *entry = job_entry_find(context, slot);
    if (entry == NULL)
        return;
    entry->ended_ms = result->finished_ms;
    memcpy(entry->signature, result->signature, sizeof entry->signature);
    entry->has_drift = result->has_drift;
    memcpy(entry->superseded_by, result->superseded_by, sizeof entry->superseded_by);
    entry->has_score = result->has_score;
    entry->score = result->score;
    entry->has_max_score = result->has_max_score;
    entry->max_score = result->max_score;
}

/* Whether the job may have leases. */
static bool job_entry_was_handed_out(const struct job_fact *fact)
{
    return fact->outcome != OUTCOME_NONE || fact->attempts > 0 || fact->is_live ||
           fact->is_returned;
}

static enum bw_code job_entry_read_leases(struct entry_reading *reading, struct slot_list *slots)
{
    const struct job_leases leases = {.store = reading->sources->leases,
                                      .run = reading->view->run,
                                      .take = job_entry_take_lease,
                                      .context = reading};
    slots->count = 0;
    for (uint32_t i = 0; i < reading->count; i++)
        if (job_entry_was_handed_out(&reading->view->facts[reading->entries[i].slot]))
            slots->items[slots->count++] = reading->entries[i].slot;
    return job_leases_read_on(&leases, slots, 1, reading->error);
}

static enum bw_code job_entry_read_results(struct entry_reading *reading, struct slot_list *slots)
{
    const struct job_results results = {.store = reading->sources->results,
                                        .run = reading->view->run,
                                        .take = job_entry_take_result,
                                        .context = reading};
    slots->count = 0;
    for (uint32_t i = 0; i < reading->count; i++)
        if (reading->view->facts[reading->entries[i].slot].outcome != OUTCOME_NONE)
            slots->items[slots->count++] = reading->entries[i].slot;
    return job_results_read(&results, slots, reading->error);
}

enum bw_code job_entries_read(const struct run_facts_sources *sources, const struct job_view *view,
                              struct job_entry *entries, uint32_t count, struct bw_error *error)
{
    struct entry_reading reading = {
        .sources = sources, .view = view, .entries = entries, .count = count, .error = error};
    struct slot_list slots = {bw_alloc_array(count, sizeof *slots.items), 0};
    enum bw_code code = job_entry_read_leases(&reading, &slots);
    if (code == BW_OK)
        code = job_entry_read_results(&reading, &slots);
    free(slots.items);
    return code;
}

/* ---- As JSON ---- */

json_t *job_entry_date(int64_t date_ms)
{
    char text[DATE_TEXT_SIZE];
    return date_ms == 0 ? json_null() : json_string(date_format(date_ms, text));
}

static const char *job_entry_kind_name(enum job_kind kind)
{
    static const char *const names[] = {"preprocessing", "student", "postprocessing"};
    return names[kind];
}

static json_t *job_entry_outcome(enum job_outcome outcome)
{
    return outcome == OUTCOME_NONE ? json_null() : json_string(outcome_name(outcome));
}

/* Adds the student, whose env is a reference to the definition's. */
static void job_entry_add_student(const struct job_view *view, uint32_t index, json_t *entry)
{
    const json_t *env = definition_student(view->definition, index);
    json_object_set_new(entry, "student",
                        json_pack("{s:I,s:O?}", "index", (json_int_t)index, "env", env));
}

json_t *job_entry_make(const struct job_view *view, const struct job_entry *entry)
{
    const struct job_fact *fact = &view->facts[entry->slot];
    char id[JOB_ID_SIZE];
    enum job_kind kind;
    uint32_t index;
    run_slot_job(view->run->has_pre, view->run->students, entry->slot, &kind, &index);
    json_t *made = json_pack("{s:s,s:s}", "job_id", job_id_make(view->run->id, kind, index, id),
                             "kind", job_entry_kind_name(kind));
    if (kind == JOB_STUDENT)
        job_entry_add_student(view, index, made);
    json_object_set_new(made, "state", json_string(run_status_job_state(fact, view->phase, kind)));
    json_object_set_new(made, "outcome",
                        job_entry_outcome(run_status_job_outcome(fact, view->phase)));
    json_object_set_new(made, "attempts", json_integer(fact->attempts));
    json_object_set_new(made, "started_at", job_entry_date(entry->started_ms));
    json_object_set_new(made, "ended_at", job_entry_date(entry->ended_ms));
    if (fact->owner != OWNER_UNSAID)
        json_object_set_new(made, "owner", json_string(owner_name(fact->owner)));
    if (entry->superseded_by[0] != '\0')
        json_object_set_new(made, "superseded_by", json_string(entry->superseded_by));
    if (entry->signature[0] != '\0')
        json_object_set_new(made, "signature", json_string(entry->signature));
    if (entry->has_drift)
        json_object_set_new(made, "drift", json_true());
    if (entry->has_score)
        json_object_set_new(made, "score", json_number_new(entry->score));
    if (entry->has_max_score)
        json_object_set_new(made, "max_score", json_number_new(entry->max_score));
    return made;
}
