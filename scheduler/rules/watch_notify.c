#include "scheduler/rules/watch_notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/state/queue_position.h"
#include "common/base/alloc.h"

enum {
    EVENTS_PER_MS = 2, /* told at most, once there are many */
    LOOKS_PER_MS = 50, /* watches looked at, likewise */
    PROGRESS_MS = 250  /* between two words about how far a run has come */
};

/* Where a job stands, besides the positions and signal_store.h's WATCH_TOLD_STARTED. */
enum { STANDS_NOT_YET = -1, STANDS_FINISHED = -10, STANDS_FAILED = -11, STANDS_OVER = -12 };

struct watch {
    int64_t number; /* key, within the replica's process */
    char subject[JOB_ID_SIZE];
    int64_t last;
    /* of a run */
    enum run_phase phase;
    bool has_phase;
    uint32_t done, live; /* as told */
    int64_t told_ms;
    bool is_listed; /* scratch */
    UT_hash_handle hh;
};

void replica_forget_watches(struct known_replica *replica)
{
    struct watch *watch, *following;
    HASH_ITER (hh, replica->watches, watch, following) {
        HASH_DELETE(hh, replica->watches, watch);
        free(watch);
    }
}

static struct watch *find_watch(const struct known_replica *replica, int64_t number)
{
    struct watch *watch;
    HASH_FIND(hh, replica->watches, &number, sizeof number, watch);
    return watch;
}

static void remove_watch(struct known_replica *replica, struct watch *watch)
{
    if (watch == NULL)
        return;
    HASH_DELETE(hh, replica->watches, watch);
    free(watch);
}

static void add_watch(struct known_replica *replica, const struct signal_watch *heard)
{
    struct watch *watch = find_watch(replica, heard->number);
    if (watch == NULL) {
        watch = bw_alloc(sizeof *watch);
        watch->number = heard->number;
        watch->last = heard->last;
        snprintf(watch->subject, sizeof watch->subject, "%s", heard->subject);
        HASH_ADD(hh, replica->watches, number, sizeof watch->number, watch);
    } else if (heard->last != WATCH_TOLD_NOTHING) {
        watch->last = heard->last;
    }
    watch->is_listed = true;
}

void hear_watches(struct core *core, struct known_replica *replica, const struct signal *signal)
{
    struct watch *watch, *following;
    HASH_ITER (hh, replica->watches, watch, following)
        watch->is_listed = !signal->is_announcement;
    for (size_t i = 0; i < signal->watch_count; i++)
        add_watch(replica, &signal->watches[i]);
    for (size_t i = 0; i < signal->unwatched_count; i++)
        remove_watch(replica, find_watch(replica, signal->unwatched[i]));
    HASH_ITER (hh, replica->watches, watch, following)
        if (!watch->is_listed)
            remove_watch(replica, watch);
    if (signal->watch_count > 0)
        core->watch_ms = 0; /* who comes is told at once */
}

/* ---- Jobs ---- */

static int64_t job_standing(const struct core *core, const char *text)
{
    struct job_id job;
    uint32_t slot;
    uint64_t ahead;
    const struct active_run *run = job_id_parse(text, &job) ? queue_find(&core->queue, job.run)
                                                            : NULL;
    if (run == NULL || !run_job_slot(run->run.has_pre, run->run.students, run->run.has_post,
                                     job.kind, job.index, &slot))
        return STANDS_OVER;
    enum job_outcome outcome = summary_outcome(run->run.summary[slot]);
    if (outcome != OUTCOME_NONE)
        return outcome == OUTCOME_SUCCEEDED ? STANDS_FINISHED : STANDS_FAILED;
    if (run_phase_is_over(run->phase))
        return STANDS_FAILED;
    const struct live_lease *lease = lease_table_find(&core->leases, text);
    if (lease != NULL)
        return lease->state == LEASE_INSERTING ? 0 : WATCH_TOLD_STARTED;
    return queue_position(&core->queue, run, slot, &ahead) ? (int64_t)ahead : STANDS_NOT_YET;
}

static void tell_standing(struct known_replica *replica, const struct watch *watch,
                          int64_t standing)
{
    if (standing >= 0)
        replica_tell(replica, watch->number, "position", json_integer(standing));
    else if (standing == WATCH_TOLD_STARTED)
        replica_tell(replica, watch->number, "started", json_null());
    else if (standing == STANDS_OVER)
        replica_tell(replica, watch->number, "over", json_null());
    else
        replica_tell(replica, watch->number, "finished", json_boolean(standing == STANDS_FINISHED));
}

/* How many events it took. */
static unsigned look_at_job(const struct core *core, struct known_replica *replica,
                            struct watch *watch)
{
    int64_t standing = job_standing(core, watch->subject);
    if (standing == watch->last || standing == STANDS_NOT_YET)
        return 0;
    bool is_end = standing <= STANDS_FINISHED;
    bool is_silent = watch->last == WATCH_TOLD_NOTHING && !is_end;
    if (!is_silent)
        tell_standing(replica, watch, standing);
    watch->last = standing;
    if (is_end)
        remove_watch(replica, watch);
    return is_silent ? 0 : 1;
}

/* ---- Runs ---- */

/* Every job is in one of the counts, but those whose step has not begun. */
static json_t *progress_json(const struct active_run *run)
{
    uint32_t outcomes[4] = {0}, first, end, queued = 0;
    for (uint32_t slot = 0; slot < run->slots; slot++)
        outcomes[summary_outcome(run->run.summary[slot])]++;
    run_phase_slots(run, run->phase, &first, &end);
    for (uint32_t slot = first; slot < end; slot++)
        queued += summary_outcome(run->run.summary[slot]) == OUTCOME_NONE;
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)run->slots, "queued",
                     (json_int_t)(queued > run->live ? queued - run->live : 0), "running",
                     (json_int_t)run->live, "succeeded", (json_int_t)outcomes[OUTCOME_SUCCEEDED],
                     "failed", (json_int_t)outcomes[OUTCOME_FAILED], "cancelled",
                     (json_int_t)outcomes[OUTCOME_CANCELLED]);
}

static uint32_t done_count(const struct active_run *run)
{
    bool has_pre = run->run.has_pre && summary_outcome(run->run.summary[0]) != OUTCOME_NONE;
    bool has_post = run->run.has_post &&
                    summary_outcome(run->run.summary[run->slots - 1]) != OUTCOME_NONE;
    return run->students_done + has_pre + has_post;
}

static unsigned tell_progress(const struct core *core, struct known_replica *replica,
                              struct watch *watch, const struct active_run *run)
{
    uint32_t done = done_count(run);
    bool is_due = run_phase_is_over(run->phase) || core->now_ms - watch->told_ms >= PROGRESS_MS;
    bool is_news = !watch->has_phase || done != watch->done || run->live != watch->live;
    if (!is_due || !is_news)
        return 0;
    watch->done = done;
    watch->live = run->live;
    watch->told_ms = core->now_ms;
    replica_tell(replica, watch->number, "progress", progress_json(run));
    return 1;
}

static unsigned look_at_run(const struct core *core, struct known_replica *replica,
                            struct watch *watch)
{
    const struct active_run *run = queue_find(&core->queue, watch->subject);
    if (run == NULL) {
        replica_tell(replica, watch->number, "over", json_null());
        remove_watch(replica, watch);
        return 1;
    }
    bool is_first = !watch->has_phase, is_end = run_phase_is_over(run->phase);
    bool is_silent = is_first && watch->last == WATCH_TOLD_NOTHING && !is_end;
    if (is_silent) {
        watch->done = done_count(run);
        watch->live = run->live;
    }
    unsigned events = is_silent ? 0 : tell_progress(core, replica, watch, run);
    if ((is_first || watch->phase != run->phase) && !is_silent) {
        replica_tell(replica, watch->number, "phase", json_string(run_phase_name(run->phase)));
        events++;
    }
    watch->has_phase = true;
    watch->phase = run->phase;
    if (is_end)
        remove_watch(replica, watch);
    return events;
}

/* ---- All ---- */

void watching_round(struct core *core)
{
    struct known_replica *replica, *next_replica;
    struct watch *watch, *following;
    unsigned events = 0, looks = 0;
    if (core->now_ms < core->watch_ms)
        return;
    HASH_ITER (hh, core->replicas.replicas, replica, next_replica)
        HASH_ITER (hh, replica->watches, watch, following) {
            looks++;
            events += strlen(watch->subject) == RUN_ID_LENGTH ? look_at_run(core, replica, watch)
                                                              : look_at_job(core, replica, watch);
        }
    unsigned pause_ms = events / EVENTS_PER_MS > looks / LOOKS_PER_MS ? events / EVENTS_PER_MS
                                                                      : looks / LOOKS_PER_MS;
    core->watch_ms = core->now_ms + pause_ms;
}
