#include "scheduler/rules/explain.h"

#include <string.h>
#include <utlist.h>

#include "common/base/date.h"
#include "common/store/run_jobs.h"
#include "scheduler/rules/explain_reason.h"
#include "scheduler/rules/hand_out_check.h"
#include "scheduler/rules/run_progress.h"

static json_t *explain_unknown(void)
{
    return json_pack("{s:b}", "unknown", 1);
}

/* ---- A job ---- */

/* Notes why a live grader of the protocol does not have the job. `able` collects those that may
 * have it, `unable` the others. */
static void explain_note_worker(const struct known_worker *worker, struct explained *able,
                                struct explained *unable)
{
    const struct scheduler *scheduler = able->scheduler;
    uint64_t match = hand_out_match_reasons(scheduler, able->run, able->slot, worker);
    uint64_t free = hand_out_worker_reasons(scheduler, worker);
    uint64_t returned = match & wait_bit(WAIT_RETURNED, true);
    if ((match & ~returned) != 0) {
        explained_add(unable, wait_reason_first(match & ~returned), 1);
        return;
    }
    uint64_t all = returned | free;
    explained_add(able, all == 0 ? WAIT_READY : wait_reason_first(all), 1);
}

/* When the first grader may have the job again that has returned it. */
static void explain_note_returned(struct explained *explained)
{
    const struct returned_job *returned = returned_jobs_find(explained->run->returned,
                                                             explained->slot);
    for (unsigned i = 0; returned != NULL && i < returned->count; i++) {
        int64_t until_ms = returned->workers[i].until_ms;
        bool is_sooner = explained->returned_until_ms == 0 ||
                         until_ms < explained->returned_until_ms;
        if (until_ms > explained->scheduler->now_ms && is_sooner)
            explained->returned_until_ms = until_ms;
    }
}

/* Adds why no grader has the job: those that could run it, or if there is none, what the others
 * lack. `is_offered`: the job waits for nothing else, so that it matters whether they are free. */
static void explain_note_workers(struct explained *explained, bool is_offered)
{
    struct explained able = *explained, unable = *explained;
    const struct known_worker *worker, *following;
    uint64_t dead = 0, alive = 0;
    able.reasons = unable.reasons = 0;
    HASH_ITER (hh, explained->scheduler->workers.workers, worker, following) {
        if (worker->protocol != explained->run->run.protocol)
            continue;
        dead += !worker->is_alive;
        alive += worker->is_alive;
        if (worker->is_alive)
            explain_note_worker(worker, &able, &unable);
    }
    explained->counts[WAIT_GRADER_DEAD] = dead;
    explained->reasons |= wait_bit(WAIT_NO_GRADER, alive == 0);
    for (unsigned i = 0; i < WAIT_REASONS; i++) {
        enum wait_reason reason = (enum wait_reason)i;
        if (able.reasons == 0)
            explained_add(explained, reason, unable.counts[i]);
        else if (is_offered && able.counts[WAIT_READY] == 0)
            explained_add(explained, reason, able.counts[i]);
    }
}

/* Adds who goes before a job that is offered in its turn. */
static void explain_note_ahead(struct explained *explained)
{
    queue_ahead_find(explained->run, explained->slot, &explained->ahead);
    explained->reasons |= wait_bit(WAIT_JOBS_AHEAD, explained->ahead.count > 0) |
                          wait_bit(WAIT_SHARE_USED_UP, explained->ahead.less_share > 0);
}

/* Finds why the job waits. */
static void explain_find_job(const struct scheduler *scheduler, const struct active_run *run,
                             uint32_t slot, struct explained *explained)
{
    uint64_t job = hand_out_job_reasons(scheduler, run, slot);
    uint64_t turn = wait_bit(WAIT_JOBS_AHEAD, true) | wait_bit(WAIT_COURSE_LIMIT, true);
    uint64_t put_off = wait_bit(WAIT_PUT_OFF, true);
    *explained = (struct explained){.scheduler = scheduler, .run = run, .slot = slot};
    explained->reasons = hand_out_leader_reasons(scheduler) | job;
    bool is_offered = (job & ~turn) == 0;
    uint64_t is_no_ones = wait_bit(WAIT_CANCELLED, true) | wait_bit(WAIT_SUPERSEDED, true) |
                          wait_bit(WAIT_NO_STAGES, true) | wait_bit(WAIT_HANDING_OUT, true);
    if ((job & is_no_ones) != 0)
        return;
    explain_note_returned(explained);
    explain_note_workers(explained, (job & ~turn & ~put_off) == 0);
    if (is_offered)
        explain_note_ahead(explained);
    explained->reasons |= wait_bit(WAIT_READY, explained->reasons == 0);
}

static json_t *explain_grader(const struct live_lease *lease)
{
    char date[DATE_TEXT_SIZE];
    const struct known_worker *worker = lease->worker;
    bool is_cut = protocol_properties(worker->protocol)->has_hex_worker_ids;
    json_t *grader = json_pack(
        "{s:o}", "worker",
        json_stringn(worker->id, is_cut ? WORKER_SHOWN_LENGTH : strlen(worker->id)));
    if (worker_hostname(worker)[0] != '\0')
        json_object_set_new(grader, "hostname", json_string(worker_hostname(worker)));
    json_object_set_new(grader, "since",
                        lease->leased_at_ms != 0
                            ? json_string(date_format(lease->leased_at_ms, date))
                            : json_null());
    json_object_set_new(grader, "attempt", json_integer((json_int_t)lease->attempt));
    return grader;
}

/* Whether a grader has the job, or may have it. */
static bool explain_is_running(const struct live_lease *lease)
{
    return lease != NULL && lease->state != LEASE_INSERTING && lease->state != LEASE_ENDING;
}

json_t *explain_job(const struct scheduler *scheduler, const char *job)
{
    struct job_id id;
    struct explained explained;
    uint32_t slot;
    const struct active_run *run = job_id_parse(job, &id) ? queue_find(&scheduler->queue, id.run)
                                                          : NULL;
    if (run == NULL || !run_job_slot(run->run.has_pre, run->run.students, run->run.has_post,
                                     id.kind, id.index, &slot))
        return explain_unknown();
    const struct live_lease *lease = lease_table_find(&scheduler->leases, job);
    enum job_outcome outcome = summary_outcome(run->run.summary[slot]);
    if (outcome != OUTCOME_NONE)
        return json_pack("{s:s,s:s,s:[]}", "state", "ended", "outcome", outcome_name(outcome),
                         "reasons");
    if (explain_is_running(lease))
        return json_pack("{s:s,s:o,s:[]}", "state", "running", "grader", explain_grader(lease),
                         "reasons");
    explain_find_job(scheduler, run, slot, &explained);
    return json_pack("{s:s,s:o}", "state", "waiting", "reasons",
                     explain_reasons_json(&explained, UINT64_MAX));
}

/* ---- A run ---- */

/* The jobs of a run that have no result and are at no grader, by their first reason. Only one job
 * of each kind is explained: those of a kind have the same reasons, but for their order. */
struct run_waits {
    const struct scheduler *scheduler;
    const struct active_run *run;
    struct explained next; /* why its next job waits */
    uint32_t next_slot;
    bool has_next;
    uint64_t running, ended; /* jobs that do not wait */
    uint64_t counts[WAIT_REASONS];
};

/* Adds `count` jobs that wait like the job at `slot`. Of jobs that are in the queue, the others are
 * behind it: `is_queued`. */
static void explain_add_waits(struct run_waits *waits, uint32_t slot, uint64_t count,
                              bool is_queued)
{
    struct explained found;
    if (count == 0)
        return;
    explain_find_job(waits->scheduler, waits->run, slot, &found);
    enum wait_reason first = wait_reason_first(found.reasons);
    uint64_t is_first = !is_queued || first < WAIT_RETURNED ? count : 1;
    waits->counts[first] += is_first;
    waits->counts[WAIT_JOBS_AHEAD] += count - is_first;
    if (waits->has_next)
        return;
    waits->next = found;
    waits->next_slot = slot;
    waits->has_next = true;
}

/* The attempts of a list that were put off, or those that were not. */
static void explain_add_retries(struct run_waits *waits, const struct retry *list, bool is_put_off)
{
    const struct retry *retry, *first = NULL;
    uint64_t count = 0;
    LL_FOREACH (list, retry) {
        if (retry->is_put_off != is_put_off)
            continue;
        first = first != NULL ? first : retry;
        count++;
    }
    if (first != NULL)
        explain_add_waits(waits, first->slot, count, list == waits->run->due);
}

static void explain_add_leases(struct run_waits *waits)
{
    const struct live_lease *lease, *following;
    if (waits->run->live == 0)
        return;
    HASH_ITER (hh, waits->scheduler->leases.leases, lease, following) {
        if (lease->run != waits->run)
            continue;
        if (explain_is_running(lease))
            waits->running++;
        else
            explain_add_waits(waits, lease->slot, 1, false);
    }
}

/* Whether the job at `slot` has a lease. */
static bool explain_has_lease(const struct run_waits *waits, uint32_t slot)
{
    char job[JOB_ID_SIZE];
    run_slot_job_id(&waits->run->run, slot, job);
    return waits->run->live > 0 && lease_table_find(&waits->scheduler->leases, job) != NULL;
}

/* Jobs without a result of a range of slots. */
struct open_jobs {
    uint64_t count;    /* those that are not withheld */
    uint64_t withheld; /* those that are, and have no lease */
    uint64_t leased;   /* those that are, and have one */
    uint32_t slot; /* of the first that is neither in the queue's range nor leased; or the end */
};

static void explain_count_open(struct run_waits *waits, uint32_t first, uint32_t end,
                               struct open_jobs *open)
{
    const struct active_run *run = waits->run;
    *open = (struct open_jobs){.slot = end};
    for (uint32_t slot = first; slot < end; slot++) {
        bool is_withheld = run->run.cancelled_ms == 0 && queue_is_withheld(run, slot);
        bool is_in_range = slot >= run->next_slot && slot < run->end_slot;
        if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE) {
            waits->ended++;
        } else if (is_withheld) {
            bool is_leased = explain_has_lease(waits, slot);
            open->leased += is_leased;
            open->withheld += !is_leased;
        } else {
            open->count++;
            if (open->slot == end && !is_in_range && !explain_has_lease(waits, slot))
                open->slot = slot;
        }
    }
}

/* Adds the jobs of one kind, those of slots [first, end), that are neither in the queue nor leased:
 * all, if their phase has not begun; of the current phase those whose end is being stored. */
static void explain_add_kind(struct run_waits *waits, uint32_t first, uint32_t end)
{
    const struct active_run *run = waits->run;
    struct open_jobs open;
    uint32_t current_first, current_end;
    run_phase_slots(run, run->phase, &current_first, &current_end);
    explain_count_open(waits, first, end, &open);
    if (first == current_first && current_first < current_end)
        open.count -= queue_run_length(run) + run->live - open.leased;
    waits->counts[WAIT_SUPERSEDED] += open.withheld;
    if (open.slot < end)
        explain_add_waits(waits, open.slot, open.count, false);
}

static json_t *explain_waits_json(const struct run_waits *waits)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < WAIT_REASONS; i++)
        if (waits->counts[i] > 0)
            json_array_append_new(list, json_pack("{s:s,s:I}", "reason",
                                                  wait_reason_word((enum wait_reason)i), "jobs",
                                                  (json_int_t)waits->counts[i]));
    return list;
}

static void explain_find_waits(struct run_waits *waits)
{
    const struct active_run *run = waits->run;
    uint32_t students = run->run.has_pre, post = students + run->run.students;
    explain_add_retries(waits, run->due, false);
    explain_add_waits(waits, run->next_slot, queue_first_attempts(run), true);
    explain_add_retries(waits, run->delayed, true);
    explain_add_retries(waits, run->delayed, false);
    explain_add_leases(waits);
    explain_add_kind(waits, 0, students);
    explain_add_kind(waits, students, post);
    explain_add_kind(waits, post, run->slots);
}

static json_t *explain_run_over(const struct active_run *run)
{
    return json_pack("{s:s,s:s,s:[]}", "state", "ended", "outcome", run_phase_name(run->phase),
                     "reasons");
}

json_t *explain_run(const struct scheduler *scheduler, const char *id)
{
    struct run_waits waits = {.scheduler = scheduler, .run = queue_find(&scheduler->queue, id)};
    char job[JOB_ID_SIZE];
    if (waits.run == NULL)
        return explain_unknown();
    if (run_phase_is_over(waits.run->phase))
        return explain_run_over(waits.run);
    explain_find_waits(&waits);
    uint64_t waiting = waits.run->slots - waits.ended - waits.running;
    json_t *answer = json_pack("{s:s,s:{s:I,s:I,s:I},s:o}", "state",
                               waits.running > 0 ? "running" : "waiting", "jobs", "waiting",
                               (json_int_t)waiting, "running", (json_int_t)waits.running, "ended",
                               (json_int_t)waits.ended, "waiting", explain_waits_json(&waits));
    if (!waits.has_next) {
        json_object_set_new(answer, "reasons", json_array());
        return answer;
    }
    run_slot_job_id(&waits.run->run, waits.next_slot, job);
    json_object_set_new(answer, "next_job", json_string(job));
    json_object_set_new(answer, "reasons", explain_reasons_json(&waits.next, UINT64_MAX));
    return answer;
}

/* ---- A grader ---- */

/* The grader's reasons that are about the jobs. */
struct worker_waits {
    struct explained jobs;
    uint64_t waiting; /* jobs of its protocol */
    uint64_t allowed; /* how many of them it may have */
};

/* When the grader may have the job again that it has returned. */
static void explain_note_own_return(struct explained *jobs, const struct active_run *run,
                                    uint32_t slot)
{
    const struct returned_job *returned = returned_jobs_find(run->returned, slot);
    for (unsigned i = 0; returned != NULL && i < returned->count; i++) {
        int64_t until_ms = returned->workers[i].until_ms;
        if (strcmp(returned->workers[i].id, jobs->worker->id) == 0 &&
            (jobs->returned_until_ms == 0 || until_ms < jobs->returned_until_ms))
            jobs->returned_until_ms = until_ms;
    }
}

/* Adds `count` waiting jobs that are like the job at `slot`, which `job` keeps from all graders. */
static void explain_add_job(struct worker_waits *waits, const struct active_run *run, uint32_t slot,
                            uint64_t job, uint64_t count)
{
    const struct scheduler *scheduler = waits->jobs.scheduler;
    uint64_t match = hand_out_match_reasons(scheduler, run, slot, waits->jobs.worker);
    uint64_t reasons = (job & ~wait_bit(WAIT_JOBS_AHEAD, true)) | match |
                       course_wait_reasons(run->course);
    waits->waiting += count;
    if (reasons == 0)
        waits->allowed += count;
    else
        explained_add(&waits->jobs, wait_reason_first(reasons), count);
    if ((match & wait_bit(WAIT_RETURNED, true)) != 0)
        explain_note_own_return(&waits->jobs, run, slot);
}

static void explain_add_run(struct worker_waits *waits, const struct active_run *run)
{
    const struct scheduler *scheduler = waits->jobs.scheduler;
    const struct retry *retry;
    uint32_t first_attempts = queue_first_attempts(run);
    if (first_attempts > 0)
        explain_add_job(waits, run, run->next_slot,
                        hand_out_job_reasons(scheduler, run, run->next_slot), first_attempts);
    LL_FOREACH (run->due, retry)
        explain_add_job(waits, run, retry->slot, queue_run_wait_reasons(run), 1);
    LL_FOREACH (run->delayed, retry)
        explain_add_job(waits, run, retry->slot, queue_delayed_wait_reasons(run, retry), 1);
}

static const char *explain_worker_state(const struct known_worker *worker)
{
    if (!worker->is_alive)
        return "dead";
    return worker->held > 0 ? "working" : "waiting";
}

json_t *explain_worker(const struct scheduler *scheduler, const char *id)
{
    const struct known_worker *worker = worker_table_find(&scheduler->workers, id);
    const struct active_run *run, *following;
    if (worker == NULL)
        return explain_unknown();
    struct explained own = {.scheduler = scheduler, .worker = worker};
    struct worker_waits waits = {.jobs = own};
    HASH_ITER (hh, scheduler->queue.runs, run, following)
        if (run->run.protocol == worker->protocol)
            explain_add_run(&waits, run);
    own.reasons = hand_out_leader_reasons(scheduler) | hand_out_worker_reasons(scheduler, worker);
    own.reasons |= wait_bit(WAIT_NO_JOB, waits.waiting == 0);
    own.reasons |= wait_bit(WAIT_READY, own.reasons == 0 && waits.allowed > 0);
    json_t *reasons = explain_reasons_json(&own, UINT64_MAX);
    json_t *of_jobs = explain_reasons_json(&waits.jobs, waits.allowed == 0 ? UINT64_MAX : 0);
    json_array_extend(reasons, of_jobs);
    json_decref(of_jobs);
    return json_pack("{s:s,s:I,s:o}", "state", explain_worker_state(worker), "held",
                     (json_int_t)worker->held, "reasons", reasons);
}
