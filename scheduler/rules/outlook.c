#include "scheduler/rules/outlook.h"

#include <math.h>
#include <utlist.h>

#include "scheduler/rules/sharing.h"

/* As long as the times that a run has noted are used: those of its own assignment, or others. */
enum { TIMES_MS = 60000, OTHER_TIMES_MS = 10000 };

static const double tenth = 1.2816; /* standard deviations that a tenth exceeds */

static void work_add(struct outlook_work *work, const struct outlook_work *more, double share)
{
    work->ms += share * more->ms;
    work->variance += share * more->variance;
    work->jobs += share * more->jobs;
    work->doubt_ms += share * more->doubt_ms;
}

/* Adds the first `ms` of the work. */
static void work_add_first(struct outlook_work *work, const struct outlook_work *more, double ms)
{
    if (ms > 0 && more->ms > 0)
        work_add(work, more, fmin(1, ms / more->ms));
}

/* ---- What a run has waiting ---- */

static void run_measure(struct scheduler *scheduler, struct active_run *run)
{
    enum job_times_level level;
    if (scheduler->now_ms < run->measure_ms)
        return;
    struct job_times *times = job_times_of(&scheduler->job_times, &run->run, JOB_STUDENT, &level);
    run->measure_ms = scheduler->now_ms;
    if (times != NULL)
        run->measure_ms += level == JOB_TIMES_ASSIGNMENT ? TIMES_MS : OTHER_TIMES_MS;
    run->job_mean_ms = times != NULL ? job_times_mean(times) : 0;
    run->job_variance = times != NULL ? times->variance : 0;
    run->job_doubt_ms = 0;
    if (times != NULL && times->sketch.weight > 0)
        run->job_doubt_ms = sqrt(times->variance * QUANTILE_SKETCH_UNIT /
                                 (double)times->sketch.weight);
}

static struct outlook_work run_jobs_work(struct scheduler *scheduler, struct active_run *run,
                                         double jobs)
{
    run_measure(scheduler, run);
    return (struct outlook_work){jobs * run->job_mean_ms, jobs * run->job_variance, jobs,
                                 jobs * run->job_doubt_ms};
}

/* What waits of the run; without times it has jobs and no time. */
static struct outlook_work run_work(struct scheduler *scheduler, struct active_run *run)
{
    double jobs = (double)queue_run_length(run);
    if (run->phase == RUN_PRE) /* they come once it is over */
        jobs += run->run.students;
    return run_jobs_work(scheduler, run, jobs);
}

/* ---- Graders ---- */

/* How many of the lane's groups the other lane has; all of them if `other` is NULL. */
static double lane_slots(const struct lane *lane, const struct lane *other)
{
    double slots = 0;
    for (size_t i = 0; i < lane->group_count; i++) {
        bool is_shared = other == NULL;
        for (size_t j = 0; !is_shared && j < other->group_count; j++)
            is_shared = lane->groups[i] == other->groups[j];
        slots += is_shared ? (double)lane->groups[i]->slots : 0;
    }
    return slots;
}

static uint32_t worker_slots(const struct scheduler *scheduler, const struct known_worker *worker)
{
    bool is_able = worker->is_alive && worker->fault[0] == '\0' &&
                   !worker_is_paused(worker, scheduler->now_ms);
    uint32_t most = worker->concurrency > 0 ? (uint32_t)worker->concurrency : 1;
    if (!is_able)
        return worker->held;
    return most > worker->held ? most : worker->held;
}

/* Counts each group's slots anew. */
static void groups_count(struct scheduler *scheduler)
{
    struct worker_group *group, *next_group;
    const struct known_worker *worker, *next_worker;
    HASH_ITER (hh, scheduler->groups.groups, group, next_group)
        group->slots = 0;
    HASH_ITER (hh, scheduler->workers.workers, worker, next_worker)
        if (worker->group != NULL)
            worker->group->slots += worker_slots(scheduler, worker);
}

/* ---- Jobs that run ---- */

/* What is left, in the mean, of a job of which it is not known since when it runs; it is about as
 * uncertain as that is long. */
static struct outlook_work lease_left(struct scheduler *scheduler, const struct live_lease *lease)
{
    struct outlook_work left = run_jobs_work(scheduler, lease->run, 1);
    if (left.ms <= 0)
        return left;
    left.ms = (left.variance + left.ms * left.ms) / (2 * left.ms);
    left.variance = left.ms * left.ms / 3 + left.variance / 3;
    return left;
}

static bool lane_has_worker(const struct lane *lane, const struct known_worker *worker)
{
    for (size_t i = 0; i < lane->group_count; i++)
        if (lane->groups[i] == worker->group)
            return true;
    return false;
}

/* `lane`: whose graders; NULL: all. */
static void outlook_add_running(struct scheduler *scheduler, enum protocol protocol,
                                const struct lane *lane, struct outlook *outlook)
{
    const struct live_lease *lease, *following;
    HASH_ITER (hh, scheduler->leases.leases, lease, following) {
        if (lease->run->run.protocol != protocol ||
            (lane != NULL && !lane_has_worker(lane, lease->worker)))
            continue;
        struct outlook_work left = lease_left(scheduler, lease);
        work_add(&outlook->running, &left, 1);
        if (lane != NULL && lease->run->course == lane->course)
            work_add(&outlook->own, &left, 1);
    }
}

/* ---- Jobs that wait ---- */

static struct outlook_work submitter_work(struct scheduler *scheduler,
                                          const struct submitter *submitter)
{
    struct outlook_work work = {0};
    struct active_run *run;
    DL_FOREACH (submitter->ready, run) {
        struct outlook_work more = run_work(scheduler, run);
        work_add(&work, &more, 1);
    }
    return work;
}

static struct outlook_work lane_work(struct scheduler *scheduler, const struct lane *lane)
{
    struct outlook_work work = {0};
    for (size_t i = 0; i < lane->ready_count; i++) {
        struct outlook_work more = submitter_work(scheduler, lane->ready[i]);
        work_add(&work, &more, 1);
    }
    return work;
}

/* The run's own jobs and those of its submitter's runs before it. */
static struct outlook_work run_before(struct scheduler *scheduler, struct active_run *run,
                                      double own_jobs)
{
    struct active_run *other;
    struct outlook_work before = run_jobs_work(scheduler, run, own_jobs);
    DL_FOREACH (run->submitter->ready, other) {
        if (other == run)
            break;
        struct outlook_work more = run_work(scheduler, other);
        work_add(&before, &more, 1);
    }
    return before;
}

/* What of the lane goes before that: its submitters have equal parts. */
static struct outlook_work lane_before(struct scheduler *scheduler, struct active_run *run,
                                       double own_jobs)
{
    const struct submitter *submitter = run->submitter;
    const struct lane *lane = submitter->lane;
    struct outlook_work before = run_before(scheduler, run, own_jobs);
    double own_ms = before.ms, begun_ms = submitter->virtual_ms;
    if (submitter->place == 0)
        begun_ms = fmax(begun_ms, lane->virtual_ms);
    for (size_t i = 0; i < lane->ready_count; i++) {
        const struct submitter *other = lane->ready[i];
        struct outlook_work work = {0};
        if (other == submitter)
            continue;
        work = submitter_work(scheduler, other);
        work_add_first(&before, &work, own_ms + begun_ms - other->virtual_ms);
    }
    return before;
}

/* The part of what the other lane has waiting that this lane's graders take. */
static double lane_overlap(struct scheduler *scheduler, struct lane *other, const struct lane *lane)
{
    (void)sharing_has_groups(scheduler, other);
    double all = lane_slots(other, NULL);
    return all > 0 ? lane_slots(other, lane) / all : 0;
}

/* Adds what of another lane of the same course goes before. */
static void outlook_add_own_lanes(struct scheduler *scheduler, const struct lane *lane,
                                  struct outlook_work *own)
{
    struct lane *other, *following;
    HASH_ITER (hh, lane->course->lanes, other, following) {
        bool is_before = other->run_class == lane->run_class && other->priority > lane->priority;
        struct outlook_work work = {0};
        if (!is_before)
            continue;
        work = lane_work(scheduler, other);
        work_add(own, &work, lane_overlap(scheduler, other, lane));
    }
}

/* What the course has waiting in the class, for this lane's graders; *elsewhere: how many other
 * graders may take it. */
static struct outlook_work course_work(struct scheduler *scheduler, const struct course *course,
                                       unsigned rank, const struct lane *lane, double *elsewhere)
{
    struct outlook_work work = {0};
    *elsewhere = 0;
    struct lane *other, *following;
    HASH_ITER (hh, course->lanes, other, following) {
        struct outlook_work more = {0};
        if (run_class_rank(other->run_class) != rank || other->ready_count == 0)
            continue;
        more = lane_work(scheduler, other);
        double overlap = lane_overlap(scheduler, other, lane);
        work_add(&work, &more, overlap);
        if (overlap > 0)
            *elsewhere = fmax(*elsewhere, lane_slots(other, NULL) - lane_slots(other, lane));
    }
    return work;
}

/* Better classes go before with all they have; other courses with what they get by their weights
 * until this one has got its own, less what they get from other graders meanwhile. */
static void outlook_add_courses(struct scheduler *scheduler, const struct lane *lane, double slots,
                                struct outlook_work *ahead)
{
    const struct course *own = lane->course, *course, *following;
    unsigned own_rank = run_class_rank(lane->run_class);
    double own_ms = ahead->ms, elsewhere;
    double turn_ms = own_ms * COURSE_WEIGHT_DEFAULT / own->weight + own->virtual_ms;
    HASH_ITER (hh, scheduler->queue.order.courses, course, following) {
        if (course->protocol != own->protocol)
            continue;
        for (unsigned rank = 0; rank < own_rank; rank++) {
            struct outlook_work work = course_work(scheduler, course, rank, lane, &elsewhere);
            work_add(ahead, &work, 1);
        }
        if (course == own)
            continue;
        struct outlook_work work = course_work(scheduler, course, own_rank, lane, &elsewhere);
        double due_ms = (turn_ms - course->virtual_ms) * course->weight / COURSE_WEIGHT_DEFAULT;
        work_add_first(ahead, &work, due_ms - elsewhere * own_ms / fmax(1, slots));
    }
}

/* `own`: what of the lane goes before. */
static void outlook_fill(struct scheduler *scheduler, struct lane *lane,
                         const struct outlook_work *own, struct outlook *outlook)
{
    *outlook = (struct outlook){.most_own = lane->course->max_running};
    (void)sharing_has_groups(scheduler, lane);
    groups_count(scheduler);
    outlook->slots = lane_slots(lane, NULL);
    outlook_add_running(scheduler, lane->course->protocol, lane, outlook);
    outlook->ahead = *own;
    outlook_add_own_lanes(scheduler, lane, &outlook->ahead);
    work_add(&outlook->own, &outlook->ahead, 1);
    outlook_add_courses(scheduler, lane, outlook->slots, &outlook->ahead);
}

void outlook_of_run(struct scheduler *scheduler, struct active_run *run, double own_jobs,
                    struct outlook *outlook)
{
    struct outlook_work own = lane_before(scheduler, run, own_jobs);
    outlook_fill(scheduler, run->submitter->lane, &own, outlook);
}

void outlook_of_lane(struct scheduler *scheduler, struct lane *lane, struct outlook *outlook)
{
    struct outlook_work own = lane_work(scheduler, lane);
    outlook_fill(scheduler, lane, &own, outlook);
}

void outlook_of_protocol(struct scheduler *scheduler, enum protocol protocol,
                         struct outlook *outlook)
{
    const struct course *course, *next_course;
    const struct lane *lane, *next_lane;
    const struct worker_group *group, *next_group;
    *outlook = (struct outlook){0};
    groups_count(scheduler);
    HASH_ITER (hh, scheduler->groups.groups, group, next_group)
        outlook->slots += group->protocol == protocol ? (double)group->slots : 0;
    outlook_add_running(scheduler, protocol, NULL, outlook);
    HASH_ITER (hh, scheduler->queue.order.courses, course, next_course) {
        if (course->protocol != protocol)
            continue;
        HASH_ITER (hh, course->lanes, lane, next_lane) {
            struct outlook_work work = lane_work(scheduler, lane);
            work_add(&outlook->ahead, &work, 1);
        }
    }
}

/* ---- When ---- */

double outlook_idle(const struct outlook *outlook, double more_slots)
{
    return fmax(0, outlook->slots + more_slots - outlook->running.jobs);
}

/* When the first of so many graders is free behind the work: the others are then still at what is
 * left of one job each. */
static double work_passes(const struct outlook_work *work, double left_ms, double slots)
{
    return fmax(0, (work->ms - (slots - 1) * left_ms) / slots);
}

struct moment outlook_start(const struct outlook *outlook, double more_slots)
{
    double slots = outlook->slots + more_slots;
    struct outlook_work all = outlook->running;
    work_add(&all, &outlook->ahead, 1);
    if (outlook->ahead.jobs + 1 <= outlook_idle(outlook, more_slots) || slots <= 0)
        return (struct moment){0, 0};
    double waiting = fmax(1, outlook->ahead.jobs);
    double mean_ms = outlook->ahead.ms / waiting, left_ms = 0;
    if (mean_ms > 0)
        left_ms = (outlook->ahead.variance / waiting + mean_ms * mean_ms) / (2 * mean_ms);
    if (outlook->running.jobs > 0)
        left_ms = outlook->running.ms / outlook->running.jobs;
    double start_ms = work_passes(&all, left_ms, slots);
    if (outlook->most_own > 0 && outlook->most_own < slots)
        start_ms = fmax(start_ms, work_passes(&outlook->own, left_ms, outlook->most_own));
    double spread_ms = hypot(sqrt(all.variance), all.doubt_ms) / slots + left_ms / slots;
    return (struct moment){start_ms, start_ms + tenth * spread_ms};
}
