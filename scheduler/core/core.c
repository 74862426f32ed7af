#include "scheduler/core/core.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/io/status.h"
#include "scheduler/rules/watch_notify.h"

enum {
    TICK_MS = 100,
    METRICS_MS = 500, /* they look at every run and every worker */
    GAP_MS = 1000,    /* a tick or an answer of the stream later than that is a gap */
    STREAM_GAP_MS = 2000,
    RECOVER_PAUSE_MS = 200,
    RECOVER_PAUSE_MAX_MS = 2000,
    WIND_DOWN_MS = 2000
};

void core_discard(struct event *event)
{
    switch (event->kind) {
    case EVENT_RUN_CHANGED:
        run_clear(&event->run);
        break;
    case EVENT_SIGNAL:
        signal_clear(&event->signal);
        break;
    case EVENT_LEASED:
        pending_lease_free(event->lease);
        break;
    case EVENT_GIVEN_UP:
        pending_result_free(event->given_up);
        break;
    case EVENT_CALLBACK:
        callback_free(event->callback);
        break;
    case EVENT_DB_JOB:
        db_job_free(event->db_job);
        break;
    default:
        break;
    }
    free(event);
}

void core_reset(struct core *core)
{
    change_stream_close(core->change_stream);
    core->change_stream = NULL;
    kept_deadlines_add(&core->kept_deadlines, &core->leases);
    lease_table_destroy(&core->leases);
    replica_table_destroy(&core->replicas);
    queue_destroy(&core->queue);
    worker_table_destroy(&core->workers);
    lease_table_init(&core->leases);
    replica_table_init(&core->replicas);
    queue_init(&core->queue);
    worker_table_init(&core->workers, core->heartbeat_ms);
    scheduler_queries_forget(core);
    core->giving_up = 0;
    forget_asked_workers(core, INT64_MAX);
    worker_marks_forget(core);
    core->graders.is_under_way = false;
    reconcile_reset(&core->reconcile);
    core->generation++;
    core->must_recover = false;
    core->status_is_stale = true;
}

static void db_job_done(struct core *core, struct db_job *db_job)
{
    switch (db_job->kind) {
    case DB_JOB_END_LEASE:
        lease_ended(core, db_job);
        break;
    case DB_JOB_SAVE_RUN:
        run_saved(core, db_job);
        break;
    case DB_JOB_READ_WORKER:
        worker_was_read(core, db_job);
        break;
    case DB_JOB_FIND_RUNS:
    case DB_JOB_FIND_RESULTS:
    case DB_JOB_FIND_SIGNALS:
    case DB_JOB_SAMPLE_CLOCK:
    case DB_JOB_REMOVE_RUNS:
    case DB_JOB_REMOVE_ORPHANS:
        reconcile_seen(core, db_job);
        break;
    case DB_JOB_NOTE_GRADERS:
        grader_presence_noted(core, db_job);
        break;
    case DB_JOB_MARK_WORKERS:
        workers_recorded(core);
        break;
    case DB_JOB_DELETE_WORKER:
        break;
    }
}

/* Handles one event of this generation, and frees it. */
static void core_handle(struct core *core, struct event *event)
{
    switch (event->kind) {
    case EVENT_RUN_CHANGED:
        run_changed(core, &event->run);
        break;
    case EVENT_RESULT:
        result_seen(core, &event->result);
        break;
    case EVENT_SIGNAL:
        core->reconcile.streamed_ms = core->now_ms;
        hear_signal(core, &event->signal);
        break;
    case EVENT_WORKER:
        hear_worker(core, &event->worker);
        break;
    case EVENT_STREAM_LOST:
        core->must_recover = true;
        break;
    case EVENT_LEASED:
        hand_out_leased(core, event->lease);
        event->lease = NULL;
        break;
    case EVENT_GIVEN_UP:
        given_up_settled(core, event->given_up);
        event->given_up = NULL;
        break;
    case EVENT_CALLBACK:
        callback_answered(core, event->callback);
        break;
    case EVENT_DB_JOB:
        db_job_done(core, event->db_job);
        break;
    case EVENT_MARK:
    case EVENT_DEPOSED:
    case EVENT_STOP:
        break;
    }
    core_discard(event);
}

/* Takes and handles what has come, waiting for it until the next tick. */
static void handle_events(struct core *core)
{
    struct event *events = inbox_take(core->inbox, core->ticked_ms + TICK_MS);
    core->now_ms = clock_boot_ms();
    while (events != NULL) {
        struct event *event = events;
        events = event->next;
        bool is_outside = event->kind == EVENT_STOP || event->kind == EVENT_DEPOSED;
        core->is_stopping = core->is_stopping || event->kind == EVENT_STOP;
        metric_add(core->metrics, SCHEDULER_EVENTS, 1);
        if (is_outside || event->generation != core->generation)
            core_discard(event);
        else
            core_handle(core, event);
    }
}

/* Nobody could be heard while this process, or the stream, stood still. */
static void extend_deadlines(struct core *core)
{
    int64_t tick_gap_ms = core->now_ms - core->ticked_ms - TICK_MS;
    int64_t stream_gap_ms = core->now_ms - change_stream_heard_ms(core->change_stream);
    if (MUTANT("gaps_unforgiven"))
        return;
    if (tick_gap_ms > GAP_MS)
        worker_table_extend_deadlines(&core->workers, tick_gap_ms, core->now_ms);
    else if (stream_gap_ms > STREAM_GAP_MS)
        worker_table_extend_deadlines(&core->workers, core->now_ms - core->ticked_ms, core->now_ms);
}

static json_t *replicas_json(const struct core *core)
{
    json_t *list = json_array();
    const struct known_replica *replica, *following;
    HASH_ITER (hh, core->replicas.replicas, replica, following)
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:b}", "id", replica->id, "internal_url", replica->url,
                            "process", replica->process, "in_contact", (int)replica->in_contact));
    return list;
}

static void publish_leading(struct core *core)
{
    if (!core->status_is_stale)
        return;
    core->status_is_stale = false;
    json_t *body = json_pack("{s:s,s:s,s:I,s:o}", "status", "ready", "role", "leader", "term",
                             (json_int_t)core->term, "replicas", replicas_json(core));
    status_set_ready(core->status, true, json_dumps(body, JSON_COMPACT));
    json_decref(body);
}

static void publish_recovering(struct core *core)
{
    json_t *body = json_pack("{s:s,s:s,s:I}", "status", "recovering", "role", "leader", "term",
                             (json_int_t)core->term);
    status_set_ready(core->status, false, json_dumps(body, JSON_COMPACT));
    json_decref(body);
    core->status_is_stale = true;
}

/* At once: until it knows who leads now, the database may have to be waited for. */
static void publish_deposed(struct core *core)
{
    status_set_ready(core->status, false,
                     strdup("{\"status\":\"no longer leading\",\"role\":\"standby\"}"));
    core->status_is_stale = true;
}

static void publish_metrics(struct core *core)
{
    size_t out_of_contact = 0;
    if (core->now_ms - core->published_ms < METRICS_MS)
        return;
    core->published_ms = core->now_ms;
    int64_t oldest_ms = 0, database_ms = database_now_ms(core->database);
    const struct known_replica *replica, *next_replica;
    HASH_ITER (hh, core->replicas.replicas, replica, next_replica)
        out_of_contact += !replica->in_contact;
    const struct active_run *run, *next_run;
    HASH_ITER (hh, core->queue.runs, run, next_run)
        if (run->is_ready && database_ms - run->run.started_ms > oldest_ms)
            oldest_ms = database_ms - run->run.started_ms;
    metric_set(core->metrics, SCHEDULER_QUEUED_JOBS, (int64_t)queue_length(&core->queue));
    metric_set(core->metrics, SCHEDULER_RUNNING_JOBS, HASH_COUNT(core->leases.leases));
    metric_set(core->metrics, SCHEDULER_WAITING_POLLS, (int64_t)core->replicas.waiting);
    grader_presence_count(core);
    metric_set(core->metrics, SCHEDULER_WORKERS_PAUSED,
               worker_table_paused(&core->workers, core->now_ms));
    metric_set(core->metrics, SCHEDULER_WORKERS_STUCK,
               worker_table_stuck(&core->workers, core->job_timeout_ms, core->now_ms));
    metric_set(core->metrics, SCHEDULER_REPLICAS_OUT_OF_CONTACT, (int64_t)out_of_contact);
    metric_set(core->metrics, SCHEDULER_OLDEST_QUEUED_SECONDS, oldest_ms / 1000);
}

static void tick(struct core *core)
{
    core->now_ms = clock_boot_ms();
    if (core->now_ms - core->ticked_ms < TICK_MS)
        return;
    extend_deadlines(core);
    core->ticked_ms = core->now_ms;
    requeue_tick(core);
    progress_tick(core);
    reconcile_tick(core);
    publish_metrics(core);
}

/* Nothing is handed out before every replica that lives has seen this term, so that no callback of
 * a former leader does anything any more, and has announced: what is unconfirmed then stays so
 * until its worker asks. Who can't be reached is not waited for for long. */
static void open_hand_outs(struct core *core)
{
    const struct known_replica *replica, *following;
    if (core->now_ms >= core->opens_ms || core->replicas.replicas == NULL)
        return;
    HASH_ITER (hh, core->replicas.replicas, replica, following)
        if (!replica->in_contact || !replica->has_announced)
            return;
    core->opens_ms = core->now_ms;
}

static bool goes_on(const struct core *core)
{
    return !core->is_stopping && leadership_is_trusted(core->leadership);
}

/* Works until something says that the state can't be trusted any longer. */
static void core_work(struct core *core)
{
    core->ticked_ms = core->now_ms = clock_boot_ms();
    while (goes_on(core) && !core->must_recover) {
        handle_events(core);
        if (!goes_on(core))
            return;
        tick(core);
        open_hand_outs(core);
        scheduler_queries_round(core);
        watching_round(core);
        hand_out_round(core);
        workers_record_round(core);
        publish_leading(core);
    }
}

static bool has_hand_outs_under_way(const struct core *core)
{
    const struct live_lease *lease, *following;
    HASH_ITER (hh, core->leases.leases, lease, following)
        if (lease->state == LEASE_INSERTING || lease->state == LEASE_DELIVERING)
            return true;
    return false;
}

/* Before it leaves, it brings the hand-outs under way to their end: the next leader would have to
 * wait for their workers. */
static void wind_down(struct core *core)
{
    int64_t until_ms = clock_boot_ms() + WIND_DOWN_MS;
    while (leadership_is_trusted(core->leadership) && !core->must_recover && core->is_stopping &&
           has_hand_outs_under_way(core) && core->now_ms < until_ms) {
        core->ticked_ms = core->now_ms;
        handle_events(core);
        hand_out_round(core);
        workers_record_round(core);
    }
}

/* Sleeps, but for being stopped. Events that come meanwhile stay. */
static void pause_recovery(struct core *core, int64_t pause_ms)
{
    int64_t until_ms = clock_boot_ms() + pause_ms;
    while (clock_boot_ms() < until_ms && goes_on(core)) {
        struct event *events = inbox_take(core->inbox, until_ms);
        while (events != NULL) {
            struct event *event = events;
            events = event->next;
            core->is_stopping = core->is_stopping || event->kind == EVENT_STOP;
            core_discard(event); /* of a state that is gone */
        }
    }
}

void core_lead(struct core *core, int64_t term)
{
    int64_t pause_ms = RECOVER_PAUSE_MS;
    core->term = term;
    metric_set(core->metrics, SCHEDULER_IS_LEADER, 1);
    while (goes_on(core)) {
        struct bw_error error;
        publish_recovering(core);
        core_reset(core);
        if (core_recover(core, &error) == BW_OK) {
            pause_ms = RECOVER_PAUSE_MS;
            core_work(core);
            wind_down(core);
            continue;
        }
        log_warning("recovery failed", log_text("reason", error.message));
        pause_recovery(core, pause_ms);
        pause_ms = pause_ms * 2 < RECOVER_PAUSE_MAX_MS ? pause_ms * 2 : RECOVER_PAUSE_MAX_MS;
    }
    metric_set(core->metrics, SCHEDULER_IS_LEADER, 0);
    publish_deposed(core);
    core_reset(core);
}
