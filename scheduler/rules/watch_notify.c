#include "scheduler/rules/watch_notify.h"

#include <math.h>
#include <string.h>

#include "scheduler/rules/estimate.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/state/queue_position.h"

enum {
    EVENTS_PER_MS = 2,         /* limit of events that are sent, with many watches */
    SCANS_PER_MS = 50,         /* limit of watches that are scanned, likewise */
    PROGRESS_MS = 250,         /* between two progress events of a run */
    ESTIMATE_MS = 10000,       /* between two estimates of its end */
    ESTIMATE_CHANGE_MS = 60000 /* that is always sent */
};

/* Where a job stands, besides the positions and signal_store.h's WATCH_NOTIFIED_STARTED. */
enum { STANDS_NOT_YET = -1, STANDS_FINISHED = -10, STANDS_FAILED = -11, STANDS_OVER = -12 };

static void add_watch(struct known_replica *replica, const struct signal_watch *wanted)
{
    struct watch *watch = watch_table_find(replica->watches, wanted->number);
    if (watch == NULL) {
        watch = watch_table_add(&replica->watches, wanted->number, wanted->subject);
        watch->last = wanted->last;
    } else if (wanted->last != WATCH_NOTIFIED_NOTHING) {
        watch->last = wanted->last;
    }
    watch->is_listed = true;
}

void watch_notify_take(struct scheduler *scheduler, struct known_replica *replica,
                       const struct signal *signal)
{
    struct watch *watch, *following;
    HASH_ITER (hh, replica->watches, watch, following)
        watch->is_listed = !signal->is_resync;
    for (size_t i = 0; i < signal->watch_count; i++)
        add_watch(replica, &signal->watches[i]);
    for (size_t i = 0; i < signal->unwatched_count; i++)
        watch_table_remove(&replica->watches,
                           watch_table_find(replica->watches, signal->unwatched[i]));
    HASH_ITER (hh, replica->watches, watch, following)
        if (!watch->is_listed)
            watch_table_remove(&replica->watches, watch);
    if (signal->watch_count > 0)
        scheduler->watch_ms = 0; /* a new watch gets its first event at once */
}

/* ---- Jobs ---- */

static int64_t job_standing(const struct scheduler *scheduler, const char *text)
{
    struct job_id job;
    uint32_t slot;
    uint64_t ahead;
    const struct active_run *run = job_id_parse(text, &job) ? queue_find(&scheduler->queue, job.run)
                                                            : NULL;
    if (run == NULL || !run_job_slot(run->run.has_pre, run->run.students, run->run.has_post,
                                     job.kind, job.index, &slot))
        return STANDS_OVER;
    enum job_outcome outcome = summary_outcome(run->run.summary[slot]);
    if (outcome != OUTCOME_NONE)
        return outcome == OUTCOME_SUCCEEDED ? STANDS_FINISHED : STANDS_FAILED;
    if (run_phase_is_over(run->phase))
        return STANDS_FAILED;
    const struct live_lease *lease = lease_table_find(&scheduler->leases, text);
    if (lease != NULL)
        return lease->state == LEASE_INSERTING ? 0 : WATCH_NOTIFIED_STARTED;
    return queue_position(run, slot, &ahead) ? (int64_t)ahead : STANDS_NOT_YET;
}

static void notify_standing(struct known_replica *replica, const struct watch *watch,
                            int64_t standing)
{
    if (standing >= 0)
        replica_notify(replica, watch->number, "position", json_integer(standing));
    else if (standing == WATCH_NOTIFIED_STARTED)
        replica_notify(replica, watch->number, "started", json_null());
    else if (standing == STANDS_OVER)
        replica_notify(replica, watch->number, "over", json_null());
    else
        replica_notify(replica, watch->number, "finished",
                       json_boolean(standing == STANDS_FINISHED));
}

/* How many events it took. */
static unsigned watch_scan_job(const struct scheduler *scheduler, struct known_replica *replica,
                               struct watch *watch)
{
    int64_t standing = job_standing(scheduler, watch->subject);
    if (standing == watch->last || standing == STANDS_NOT_YET)
        return 0;
    bool is_end = standing <= STANDS_FINISHED;
    bool is_silent = watch->last == WATCH_NOTIFIED_NOTHING && !is_end;
    if (!is_silent)
        notify_standing(replica, watch, standing);
    watch->last = standing;
    if (is_end)
        watch_table_remove(&replica->watches, watch);
    return is_silent ? 0 : 1;
}

/* ---- Runs ---- */

/* Every job is in one of the counts, but those whose step has not begun. */
static json_t *progress_json(const struct active_run *run)
{
    uint32_t outcomes[OUTCOMES] = {0}, first, end, queued = 0;
    for (uint32_t slot = 0; slot < run->slots; slot++)
        outcomes[summary_outcome(run->run.summary[slot])]++;
    run_phase_slots(run, run->phase, &first, &end);
    for (uint32_t slot = first; slot < end; slot++)
        queued += summary_outcome(run->run.summary[slot]) == OUTCOME_NONE;
    json_t *made = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)run->slots, "queued",
        (json_int_t)(queued > run->live ? queued - run->live : 0), "running", (json_int_t)run->live,
        "succeeded", (json_int_t)outcomes[OUTCOME_SUCCEEDED], "failed",
        (json_int_t)outcomes[OUTCOME_FAILED], "cancelled", (json_int_t)outcomes[OUTCOME_CANCELLED]);
    if (run->run.has_keys)
        json_object_set_new(made, "superseded", json_integer(outcomes[OUTCOME_SUPERSEDED]));
    return made;
}

static uint32_t done_count(const struct active_run *run)
{
    bool has_pre = run->run.has_pre && summary_outcome(run->run.summary[0]) != OUTCOME_NONE;
    bool has_post = run->run.has_post &&
                    summary_outcome(run->run.summary[run->slots - 1]) != OUTCOME_NONE;
    return run->students_done + has_pre + has_post;
}

static unsigned notify_progress(const struct scheduler *scheduler, struct known_replica *replica,
                                struct watch *watch, const struct active_run *run)
{
    uint32_t done = done_count(run);
    bool is_due = run_phase_is_over(run->phase) ||
                  scheduler->now_ms - watch->notified_ms >= PROGRESS_MS;
    bool is_news = !watch->has_phase || done != watch->done || run->live != watch->live;
    if (!is_due || !is_news)
        return 0;
    watch->done = done;
    watch->live = run->live;
    watch->notified_ms = scheduler->now_ms;
    replica_notify(replica, watch->number, "progress", progress_json(run));
    return 1;
}

/* A run that is paused when its watch begins is told as well, unless the watch wants changes alone.
 * A new leader tells a pause again. */
static unsigned notify_pause(const struct scheduler *scheduler, struct known_replica *replica,
                             struct watch *watch, const struct active_run *run, bool is_silent)
{
    bool was_paused = watch->is_paused;
    const struct pause *pause = run->is_paused ? pausing_of_run(scheduler, run) : NULL;
    watch->is_paused = pause != NULL;
    if (was_paused == watch->is_paused || is_silent)
        return 0;
    replica_notify(replica, watch->number, pause != NULL ? "paused" : "resumed",
                   pause != NULL ? pause_json(pause) : json_object());
    return 1;
}

/* An estimate is sent if it differs from the one before by a minute, or a tenth of what is left.
 * `surveys`: how many may still be made in this round; the others are made in the next ones. */
static unsigned notify_estimate(struct scheduler *scheduler, struct known_replica *replica,
                                struct watch *watch, struct active_run *run, unsigned *surveys)
{
    struct estimate estimate;
    if (*surveys == 0 ||
        (watch->estimated_ms != 0 && scheduler->now_ms - watch->estimated_ms < ESTIMATE_MS))
        return 0;
    (*surveys)--;
    watch->estimated_ms = scheduler->now_ms;
    estimate_run(scheduler, run, &estimate);
    double left_ms = estimate.ends.p50_ms;
    double change_ms = fabs((double)(scheduler->date_ms - watch->ends_ms) + left_ms);
    bool is_news = watch->ends_ms == 0 || change_ms > ESTIMATE_CHANGE_MS ||
                   change_ms > left_ms / 10;
    if (estimate.reason != NULL || !is_news)
        return 0;
    watch->ends_ms = scheduler->date_ms + llround(left_ms);
    replica_notify(replica, watch->number, "estimate", estimate_dates_json(scheduler, &estimate));
    return 1;
}

static unsigned watch_scan_run(struct scheduler *scheduler, struct known_replica *replica,
                               struct watch *watch, unsigned *surveys)
{
    struct active_run *run = queue_find(&scheduler->queue, watch->subject);
    if (run == NULL) {
        replica_notify(replica, watch->number, "over", json_null());
        watch_table_remove(&replica->watches, watch);
        return 1;
    }
    bool is_first = !watch->has_phase, is_end = run_phase_is_over(run->phase);
    bool is_silent = is_first && watch->last == WATCH_NOTIFIED_NOTHING && !is_end;
    unsigned events = notify_pause(scheduler, replica, watch, run, is_silent);
    if (is_silent) {
        watch->done = done_count(run);
        watch->live = run->live;
        watch->estimated_ms = scheduler->now_ms;
    }
    if (!is_silent)
        events += notify_progress(scheduler, replica, watch, run);
    if ((is_first || watch->phase != run->phase) && !is_silent) {
        replica_notify(replica, watch->number, "phase", json_string(run_phase_name(run->phase)));
        events++;
    }
    if (!is_silent && !is_end)
        events += notify_estimate(scheduler, replica, watch, run, surveys);
    watch->has_phase = true;
    watch->phase = run->phase;
    if (is_end)
        watch_table_remove(&replica->watches, watch);
    return events;
}

/* ---- All ---- */

void watch_notify_round(struct scheduler *scheduler)
{
    struct known_replica *replica, *next_replica;
    struct watch *watch, *following;
    unsigned events = 0, scans = 0, surveys = scheduler_surveys_at_once(scheduler);
    if (scheduler->now_ms < scheduler->watch_ms)
        return;
    HASH_ITER (hh, scheduler->replicas.replicas, replica, next_replica)
        HASH_ITER (hh, replica->watches, watch, following) {
            scans++;
            events += strlen(watch->subject) == RUN_ID_LENGTH
                          ? watch_scan_run(scheduler, replica, watch, &surveys)
                          : watch_scan_job(scheduler, replica, watch);
        }
    unsigned pause_ms = events / EVENTS_PER_MS > scans / SCANS_PER_MS ? events / EVENTS_PER_MS
                                                                      : scans / SCANS_PER_MS;
    scheduler->watch_ms = scheduler->now_ms + pause_ms;
}
