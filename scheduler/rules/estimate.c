#include "scheduler/rules/estimate.h"

#include <math.h>
#include <string.h>

#include "common/base/date.h"
#include "common/store/run_jobs.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/foretold.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/run_progress.h"

enum {
    GAUGES_MS = 10000,
    FORETOLD_MS = 5000,   /* between two scans for runs whose end is to be foretold */
    FORETOLD_AT_ONCE = 8, /* runs */
    TARGET_MS = 600000    /* within which all that waits should be done: SCHEDULER_GRADERS_WANTED */
};

static const unsigned more_graders[ESTIMATE_MORE] = {1, 2, 4, 6, 8, 12, 16};

static const char no_times[] = "no such job has ended yet: how long they take is not known",
                  no_graders[] = "no grader that may run it is alive", is_paused[] = "it is paused",
                  has_result[] = "the job has its result",
                  is_unknown[] = "the grading run was not started, or has ended",
                  is_ending[] = "the grading run is ending",
                  nothing_waits[] = "no job of the course waits";

/* ---- Moments ---- */

/* One after the other. */
static struct moment moment_after(struct moment first, struct moment second)
{
    double p50_ms = first.p50_ms + second.p50_ms;
    return (struct moment){
        p50_ms, p50_ms + hypot(first.p90_ms - first.p50_ms, second.p90_ms - second.p50_ms)};
}

static struct moment moment_later(struct moment one, struct moment other)
{
    return (struct moment){fmax(one.p50_ms, other.p50_ms), fmax(one.p90_ms, other.p90_ms)};
}

static struct moment times_moment(const struct job_times *times)
{
    if (times == NULL)
        return (struct moment){0, 0};
    return (struct moment){quantile_sketch_quantile(&times->sketch, 0.5),
                           quantile_sketch_quantile(&times->sketch, 0.9)};
}

static struct moment times_longest(const struct job_times *times, double fresh, double begun)
{
    return (struct moment){quantile_sketch_longest(&times->sketch, 0.5, fresh, begun),
                           quantile_sketch_longest(&times->sketch, 0.9, fresh, begun)};
}

/* ---- Jobs that run ---- */

static double lease_age_ms(const struct scheduler *scheduler, const struct live_lease *lease)
{
    if (lease->leased_at_ms != 0 && scheduler->date_ms > lease->leased_at_ms)
        return (double)(scheduler->date_ms - lease->leased_at_ms);
    return (double)(scheduler->now_ms - lease->leased_ms);
}

/* What is left of a job that runs. One that runs longer than all before it may take as long as half
 * its time again, and until its deadline. */
static double lease_left_ms(const struct scheduler *scheduler, const struct live_lease *lease,
                            const struct job_times *times, double quantile)
{
    double age_ms = lease_age_ms(scheduler, lease);
    double most_ms = fmax(0, (double)(lease->deadline_ms - scheduler->now_ms));
    double ends_ms = quantile_sketch_quantile_beyond(&times->sketch, quantile, age_ms);
    if (ends_ms <= 0)
        return quantile > 0.5 ? most_ms : fmin(most_ms, age_ms / 2);
    return fmin(most_ms, ends_ms - age_ms);
}

static struct moment lease_left(const struct scheduler *scheduler, const struct live_lease *lease,
                                const struct job_times *times, double others)
{
    double power = 1 / (others + 1);
    return (struct moment){lease_left_ms(scheduler, lease, times, pow(0.5, power)),
                           lease_left_ms(scheduler, lease, times, pow(0.9, power))};
}

/* When the last of the run's jobs that run now ends. */
static struct moment run_leases_left(const struct scheduler *scheduler,
                                     const struct active_run *run, const struct job_times *times)
{
    struct moment last = {0, 0};
    uint32_t first, end;
    char job[JOB_ID_SIZE];
    run_phase_slots(run, run->phase, &first, &end);
    for (uint32_t slot = first; run->live > 0 && slot < end; slot++) {
        if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE)
            continue;
        const struct live_lease *lease = lease_table_find(&scheduler->leases,
                                                          run_slot_job_id(&run->run, slot, job));
        if (lease != NULL)
            last = moment_later(last, lease_left(scheduler, lease, times, run->live - 1));
        else if (slot >= run->next_slot)
            break; /* the others were not handed out yet */
    }
    return last;
}

/* ---- A run ---- */

static struct job_times *estimate_take_times(const struct scheduler *scheduler,
                                             const struct active_run *run, enum job_kind kind,
                                             struct estimate *estimate)
{
    struct job_times *times = job_times_of(&scheduler->job_times, &run->run, kind,
                                           &estimate->level);
    estimate->seen = times != NULL ? times->sketch.seen : 0;
    if (times == NULL)
        estimate->reason = no_times;
    return times;
}

/* The end of `waiting` jobs of the run of which the last one begins as the outlook says; in the end
 * the run has a part of the graders: that of its work in all that goes before. */
static struct moment outlook_end(const struct outlook *outlook, const struct job_times *times,
                                 double waiting, double live, double more_slots)
{
    struct moment start = outlook_start(outlook, more_slots);
    double slots = outlook->slots + more_slots, fresh = 1, begun = 0;
    if (waiting <= outlook_idle(outlook, more_slots)) {
        fresh = waiting;
    } else {
        double part = waiting / fmax(waiting, outlook->ahead.jobs + 1);
        begun = fmax(0, fmin(ceil(slots * part), waiting + live) - 1);
    }
    return moment_after(start, times_longest(times, fresh, begun));
}

/* What follows the students. */
static struct moment run_post(const struct scheduler *scheduler, const struct active_run *run)
{
    enum job_times_level unused;
    if (!run->run.has_post || !run->run.has_stages[JOB_POST])
        return (struct moment){0, 0};
    return times_moment(job_times_of(&scheduler->job_times, &run->run, JOB_POST, &unused));
}

static bool estimate_job_of(struct scheduler *scheduler, struct active_run *run, uint32_t slot,
                            struct estimate *estimate);

/* What the end of a run depends on. */
struct run_rest {
    struct outlook outlook; /* of its last job that waits */
    const struct job_times *times;
    double waiting, live;          /* its students' jobs */
    struct moment before;          /* what must end before they begin */
    struct moment live_left, post; /* of those that run; what follows them */
};

static struct moment run_rest_end(const struct run_rest *rest, double more_slots)
{
    struct moment end = rest->live_left;
    if (rest->waiting > 0)
        end = moment_later(
            end, moment_after(rest->before, outlook_end(&rest->outlook, rest->times, rest->waiting,
                                                        rest->live, more_slots)));
    return moment_after(end, rest->post);
}

/* The students' jobs, and what follows them. */
static void estimate_students(struct scheduler *scheduler, struct active_run *run,
                              struct moment before, struct estimate *estimate)
{
    struct outlook first;
    struct run_rest rest = {.before = before, .post = run_post(scheduler, run)};
    rest.times = estimate_take_times(scheduler, run, JOB_STUDENT, estimate);
    rest.waiting = run->phase == RUN_PRE ? run->run.students : (double)queue_run_length(run);
    if (rest.times == NULL)
        return;
    if (run->phase == RUN_STUDENTS && run->live > 0) {
        rest.live = run->live;
        rest.live_left = run_leases_left(scheduler, run, rest.times);
    }
    outlook_of_run(scheduler, run, fmax(0, rest.waiting - 1), &rest.outlook);
    first = rest.outlook;
    if (rest.waiting > 1)
        outlook_of_run(scheduler, run, 0, &first);
    estimate->slots = rest.outlook.slots;
    estimate->has_starts = estimate->has_more = rest.waiting > 0;
    estimate->starts = moment_after(before, outlook_start(&first, 0));
    estimate->ends = run_rest_end(&rest, 0);
    for (size_t i = 0; i < ESTIMATE_MORE; i++)
        estimate->more[i] = run_rest_end(&rest, more_graders[i]);
    if (rest.outlook.slots <= 0 && rest.waiting > 0)
        estimate->reason = no_graders;
}

void estimate_run(struct scheduler *scheduler, struct active_run *run, struct estimate *estimate)
{
    struct moment before = {0, 0};
    *estimate = (struct estimate){.level = JOB_TIMES_NONE};
    if (run_phase_is_over(run->phase) || run->run.cancelled_ms != 0) {
        estimate->reason = is_ending;
        return;
    }
    if (pausing_of_run(scheduler, run) != NULL) {
        estimate->reason = is_paused;
        return;
    }
    if (run->phase == RUN_POST) {
        (void)estimate_job_of(scheduler, run, run->slots - 1, estimate);
        return;
    }
    if (run->phase == RUN_PRE && run->run.has_stages[JOB_PRE]) {
        if (!estimate_job_of(scheduler, run, 0, estimate))
            return;
        before = estimate->ends;
        *estimate = (struct estimate){.level = JOB_TIMES_NONE};
    }
    estimate_students(scheduler, run, before, estimate);
}

/* ---- A job ---- */

/* How many of the run's own jobs go before the slot. */
static double run_jobs_before(const struct active_run *run, uint32_t slot)
{
    const struct retry *retry;
    double before = 0;
    for (retry = run->due; retry != NULL; retry = retry->next, before++)
        if (retry->slot == slot)
            return before;
    if (slot < run->next_slot) /* a retry that is not due yet */
        return before + queue_first_attempts(run);
    for (uint32_t at = run->next_slot; at < slot; at++)
        before += !queue_has_ended(run, at);
    return before;
}

static void estimate_leased_job(const struct scheduler *scheduler, const struct live_lease *lease,
                                const struct job_times *times, struct estimate *estimate)
{
    double age_ms = lease_age_ms(scheduler, lease);
    estimate->has_starts = true;
    estimate->starts = (struct moment){-age_ms, -age_ms};
    estimate->ends = lease_left(scheduler, lease, times, 0);
}

static void estimate_waiting_job(struct scheduler *scheduler, struct active_run *run,
                                 double own_jobs, struct moment before,
                                 const struct job_times *times, struct estimate *estimate)
{
    struct outlook outlook;
    outlook_of_run(scheduler, run, own_jobs, &outlook);
    estimate->slots = outlook.slots;
    estimate->has_starts = estimate->has_more = true;
    estimate->starts = moment_after(before, outlook_start(&outlook, 0));
    estimate->ends = moment_after(estimate->starts, times_moment(times));
    for (size_t i = 0; i < ESTIMATE_MORE; i++)
        estimate->more[i] = moment_after(
            moment_after(before, outlook_start(&outlook, more_graders[i])), times_moment(times));
    if (outlook.slots <= 0)
        estimate->reason = no_graders;
}

/* Writes the estimate of a job whose run is neither over nor paused. False: there is only a reason.
 */
static bool estimate_job_of(struct scheduler *scheduler, struct active_run *run, uint32_t slot,
                            struct estimate *estimate)
{
    char job[JOB_ID_SIZE];
    enum job_kind kind;
    uint32_t index;
    struct moment before = {0, 0};
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE) {
        estimate->reason = has_result;
        return false;
    }
    if (kind == JOB_POST && run->phase != RUN_POST) { /* it is the last that the run has */
        estimate_run(scheduler, run, estimate);
        estimate->has_starts = false;
        return estimate->reason == NULL;
    }
    if (kind == JOB_STUDENT && run->phase == RUN_PRE && run->run.has_stages[JOB_PRE]) {
        if (!estimate_job_of(scheduler, run, 0, estimate))
            return false;
        before = estimate->ends;
        *estimate = (struct estimate){.level = JOB_TIMES_NONE};
    }
    const struct job_times *times = estimate_take_times(scheduler, run, kind, estimate);
    const struct live_lease *lease = lease_table_find(&scheduler->leases,
                                                      run_slot_job_id(&run->run, slot, job));
    if (times != NULL && lease != NULL)
        estimate_leased_job(scheduler, lease, times, estimate);
    else if (times != NULL)
        estimate_waiting_job(
            scheduler, run,
            run->phase == RUN_PRE && kind == JOB_STUDENT ? index : run_jobs_before(run, slot),
            before, times, estimate);
    return estimate->reason == NULL;
}

static void estimate_job(struct scheduler *scheduler, struct active_run *run, uint32_t slot,
                         struct estimate *estimate)
{
    char job[JOB_ID_SIZE];
    bool runs = lease_table_find(&scheduler->leases, run_slot_job_id(&run->run, slot, job)) != NULL;
    *estimate = (struct estimate){.level = JOB_TIMES_NONE};
    if (run_phase_is_over(run->phase) || run->run.cancelled_ms != 0)
        estimate->reason = is_ending;
    else if (!runs && pausing_of_run(scheduler, run) != NULL)
        estimate->reason = is_paused;
    else
        (void)estimate_job_of(scheduler, run, slot, estimate);
}

/* ---- A course ---- */

static struct moment lane_end(const struct outlook *outlook, const struct job_times *times,
                              double more_slots)
{
    double waiting = fmax(1, outlook->own.jobs - outlook->running.jobs);
    return outlook_end(outlook, times, waiting, 0, more_slots);
}

/* Whether the lane's jobs go after those of the other lane, or it is the second of two alike. */
static bool lane_is_later(const struct lane *lane, const struct lane *other)
{
    unsigned rank = run_class_rank(lane->run_class), others = run_class_rank(other->run_class);
    if (rank != others)
        return rank > others;
    if (lane->priority != other->priority)
        return lane->priority < other->priority;
    return strcmp(lane->key, other->key) > 0;
}

/* The last of the course's lanes that has jobs, of those before `end`; NULL as `end`: of all. */
static struct lane *last_lane(const struct course *course, const struct lane *end)
{
    struct lane *lane, *following, *last = NULL;
    HASH_ITER (hh, course->lanes, lane, following) {
        bool is_before = lane->ready_count > 0 && (end == NULL || lane_is_later(end, lane));
        if (is_before && (last == NULL || lane_is_later(lane, last)))
            last = lane;
    }
    return last;
}

/* Adds the end of what waits in the lane, of which `run` is one. */
static void estimate_add_lane(struct scheduler *scheduler, struct lane *lane,
                              const struct active_run *run, struct estimate *estimate)
{
    struct outlook outlook;
    const struct job_times *times = estimate_take_times(scheduler, run, JOB_STUDENT, estimate);
    if (times == NULL)
        return;
    outlook_of_lane(scheduler, lane, &outlook);
    estimate->slots = fmax(estimate->slots, outlook.slots);
    estimate->ends = moment_later(estimate->ends, lane_end(&outlook, times, 0));
    for (size_t i = 0; i < ESTIMATE_MORE; i++)
        estimate->more[i] = moment_later(estimate->more[i],
                                         lane_end(&outlook, times, more_graders[i]));
    estimate->has_more = true;
    if (outlook.slots <= 0)
        estimate->reason = no_graders;
}

/* ---- Answers ---- */

static json_t *moment_json(const struct scheduler *scheduler, struct moment moment)
{
    char p50[DATE_TEXT_SIZE], p90[DATE_TEXT_SIZE];
    return json_pack("{s:s,s:s}", "p50",
                     date_format(scheduler->date_ms + llround(moment.p50_ms), p50), "p90",
                     date_format(scheduler->date_ms + llround(moment.p90_ms), p90));
}

json_t *estimate_dates_json(const struct scheduler *scheduler, const struct estimate *estimate)
{
    char now[DATE_TEXT_SIZE];
    bool is_made = estimate->reason == NULL;
    return json_pack("{s:s,s:o,s:o}", "at", date_format(scheduler->date_ms, now), "starts",
                     is_made && estimate->has_starts ? moment_json(scheduler, estimate->starts)
                                                     : json_null(),
                     "ends", is_made ? moment_json(scheduler, estimate->ends) : json_null());
}

static json_t *estimate_json(const struct scheduler *scheduler, const struct estimate *estimate)
{
    json_t *made = estimate_dates_json(scheduler, estimate), *more = json_array();
    for (size_t i = 0; i < ESTIMATE_MORE && estimate->has_more; i++) {
        json_t *row = moment_json(scheduler, estimate->more[i]);
        json_object_set_new(row, "graders", json_integer(more_graders[i]));
        json_array_append_new(more, row);
    }
    json_object_set_new(made, "reason",
                        estimate->reason != NULL ? json_string(estimate->reason) : json_null());
    json_object_set_new(made, "basis", json_string(job_times_level_name(estimate->level)));
    json_object_set_new(made, "times_seen", json_integer((json_int_t)estimate->seen));
    json_object_set_new(made, "graders", json_integer((json_int_t)estimate->slots));
    json_object_set_new(made, "more_graders", more);
    return made;
}

json_t *estimate_subject_json(struct scheduler *scheduler, const char *id)
{
    struct job_id job;
    uint32_t slot;
    struct estimate estimate = {.level = JOB_TIMES_NONE, .reason = is_unknown};
    bool is_job = job_id_parse(id, &job);
    struct active_run *run = queue_find(&scheduler->queue, is_job ? job.run : id);
    if (run != NULL && !is_job)
        estimate_run(scheduler, run, &estimate);
    else if (run != NULL && run_job_slot(run->run.has_pre, run->run.students, run->run.has_post,
                                         job.kind, job.index, &slot))
        estimate_job(scheduler, run, slot, &estimate);
    return estimate_json(scheduler, &estimate);
}

json_t *estimate_course_json(struct scheduler *scheduler, const char *course)
{
    struct course *found, *next_course;
    struct estimate estimate = {.level = JOB_TIMES_NONE, .reason = nothing_waits};
    unsigned surveys = scheduler_surveys_at_once(scheduler);
    HASH_ITER (hh, scheduler->queue.order.courses, found, next_course) {
        if (strcmp(found->name, course) != 0)
            continue;
        struct lane *lane = last_lane(found, NULL);
        for (unsigned i = 0; lane != NULL && i < surveys; i++, lane = last_lane(found, lane)) {
            estimate.reason = estimate.reason == nothing_waits ? NULL : estimate.reason;
            estimate_add_lane(scheduler, lane, lane->ready[0]->ready, &estimate);
        }
        if (estimate.reason == nothing_waits && found->queued > 0)
            estimate.reason = is_paused;
    }
    return estimate_json(scheduler, &estimate);
}

/* ---- Metrics ---- */

/* The gauges of each protocol. */
static const struct {
    enum scheduler_metric done_seconds, graders_wanted;
} gauges[PROTOCOLS] = {
#define GAUGES(unused, protocol, name, title, ...) \
    {SCHEDULER_DONE_SECONDS_##protocol, SCHEDULER_GRADERS_WANTED_##protocol},
    PROTOCOL_MAP(GAUGES, )
#undef GAUGES
};

/* When all that waits in the protocol is done with the graders of now; without any, with one. */
static double protocol_done_ms(const struct outlook *outlook)
{
    double jobs = outlook->running.jobs + outlook->ahead.jobs;
    double all_ms = outlook->running.ms + outlook->ahead.ms;
    double mean_ms = jobs > 0 ? all_ms / jobs : 0;
    return jobs > 0 ? all_ms / fmax(1, fmin(outlook->slots, jobs)) + mean_ms / 2 : 0;
}

/* How many jobs at a time would be done in TARGET_MS: jobs that take longer are all run at once. */
static double protocol_wanted(const struct outlook *outlook)
{
    double jobs = outlook->running.jobs + outlook->ahead.jobs;
    double all_ms = outlook->running.ms + outlook->ahead.ms;
    if (jobs <= 0)
        return 0;
    double within_ms = fmax(TARGET_MS - all_ms / jobs / 2, TARGET_MS / 10.0);
    return fmin(jobs, fmax(1, ceil(all_ms / within_ms)));
}

static void estimate_foretell(struct scheduler *scheduler)
{
    struct active_run *run, *following;
    unsigned made = 0, most = scheduler_surveys_at_once(scheduler);
    most = most < FORETOLD_AT_ONCE ? most : FORETOLD_AT_ONCE;
    HASH_ITER (hh, scheduler->queue.runs, run, following) {
        struct estimate estimate;
        if (!foretold_is_due(scheduler, run) || made == most)
            continue;
        estimate_run(scheduler, run, &estimate);
        foretold_note(scheduler, run, estimate.reason == NULL ? estimate.ends.p50_ms : -1,
                      estimate.ends.p90_ms);
        made++;
    }
}

void estimate_tick(struct scheduler *scheduler)
{
    struct outlook outlook;
    if (scheduler->now_ms >= scheduler->foretold_ms) {
        scheduler->foretold_ms = scheduler->now_ms + FORETOLD_MS;
        estimate_foretell(scheduler);
    }
    if (scheduler->now_ms < scheduler->estimated_ms)
        return;
    scheduler->estimated_ms = scheduler->now_ms + GAUGES_MS;
    for (unsigned protocol = 0; protocol < PROTOCOLS; protocol++) {
        outlook_of_protocol(scheduler, (enum protocol)protocol, &outlook);
        metric_set(scheduler->metrics, gauges[protocol].done_seconds,
                   (int64_t)(protocol_done_ms(&outlook) / 1000));
        metric_set(scheduler->metrics, gauges[protocol].graders_wanted,
                   (int64_t)protocol_wanted(&outlook));
    }
}
