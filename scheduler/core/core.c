#include "scheduler/core/core.h"

#include <jansson.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "scheduler/io/status.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/decide.h"
#include "scheduler/rules/missing_graders.h"

enum { RECOVER_PAUSE_MS = 200, RECOVER_PAUSE_MAX_MS = 2000, WIND_DOWN_MS = 2000 };

/* Sets the time that the rules see: one time for all events of this batch. */
static void core_set_time(struct core *core)
{
    core->scheduler.now_ms = clock_boot_ms();
    core->scheduler.date_ms = database_now_ms(core->database);
}

/* Waits for events until the next tick at the latest, and handles all that are queued. */
static void core_handle_events(struct core *core)
{
    struct event *events = inbox_take(core->inbox, core->scheduler.ticked_ms + DECIDE_TICK_MS);
    core_set_time(core);
    while (events != NULL) {
        struct event *event = events;
        events = event->next;
        decide_event(&core->scheduler, event);
        core_carry_out(core);
    }
}

static json_t *replicas_json(const struct core *core)
{
    json_t *list = json_array();
    const struct known_replica *replica, *following;
    HASH_ITER (hh, core->scheduler.replicas.replicas, replica, following)
        json_array_append_new(
            list, json_pack("{s:s,s:s,s:s,s:b}", "id", replica->id, "internal_url", replica->url,
                            "process", replica->process, "in_contact", (int)replica->in_contact));
    return list;
}

static void publish_leading(struct core *core)
{
    if (!core->scheduler.status_is_stale)
        return;
    core->scheduler.status_is_stale = false;
    json_t *body = json_pack("{s:s,s:s,s:I,s:o}", "status", "ready", "role", "leader", "term",
                             (json_int_t)core->scheduler.term, "replicas", replicas_json(core));
    status_set_ready(core->status, true, json_dumps(body, JSON_COMPACT));
    json_decref(body);
}

static void publish_recovering(struct core *core)
{
    json_t *body = json_pack("{s:s,s:s,s:I}", "status", "recovering", "role", "leader", "term",
                             (json_int_t)core->scheduler.term);
    status_set_ready(core->status, false, json_dumps(body, JSON_COMPACT));
    json_decref(body);
    core->scheduler.status_is_stale = true;
}

/* Published immediately: reading who leads now may have to wait for the database. */
static void publish_deposed(struct core *core)
{
    status_set_ready(core->status, false,
                     bw_copy("{\"status\":\"no longer leading\",\"role\":\"standby\"}"));
    core->scheduler.status_is_stale = true;
}

static bool core_may_continue(const struct core *core)
{
    return !core->scheduler.is_stopping && leadership_is_trusted(core->leadership);
}

/* Hands out in steps, so that the first leases are being inserted while more jobs are matched. */
static void core_round(struct core *core)
{
    bool is_more = true;
    while (is_more) {
        is_more = decide_round(&core->scheduler);
        core_carry_out(core);
    }
}

static void core_tick(struct core *core)
{
    core_set_time(core);
    core->scheduler.stream_seen_ms = change_stream_seen_ms(core->change_stream);
    decide_tick(&core->scheduler);
    core_carry_out(core);
}

/* Handles events until the process is stopped or deposed, or the state must be read again. */
static void core_work(struct core *core)
{
    core_set_time(core);
    core->scheduler.ticked_ms = core->scheduler.now_ms;
    while (core_may_continue(core) && !core->scheduler.must_recover) {
        core_handle_events(core);
        if (!core_may_continue(core))
            return;
        core_tick(core);
        core_round(core);
        publish_leading(core);
    }
}

/* Completes the hand-outs in flight before the process ends. Otherwise the next leader would have
 * to wait for their workers. */
static void core_complete_hand_outs(struct core *core)
{
    struct scheduler *scheduler = &core->scheduler;
    int64_t until_ms = clock_boot_ms() + WIND_DOWN_MS;
    while (leadership_is_trusted(core->leadership) && !scheduler->must_recover &&
           scheduler->is_stopping && decide_has_hand_outs(scheduler) &&
           scheduler->now_ms < until_ms) {
        scheduler->ticked_ms = scheduler->now_ms;
        core_handle_events(core);
        decide_shutdown_round(scheduler);
        core_carry_out(core);
    }
}

/* Sleeps, or returns early when stopped. Events that are posted during the sleep stay in the inbox.
 */
static void core_pause(struct core *core, int64_t pause_ms)
{
    int64_t until_ms = clock_boot_ms() + pause_ms;
    while (clock_boot_ms() < until_ms && core_may_continue(core)) {
        struct event *events = inbox_take(core->inbox, until_ms);
        while (events != NULL) {
            struct event *event = events;
            events = event->next;
            core->scheduler.is_stopping = core->scheduler.is_stopping || event->kind == EVENT_STOP;
            event_free(event); /* belongs to the state that was dropped */
        }
    }
}

void core_lead(struct core *core, const struct leader *leader)
{
    int64_t pause_ms = RECOVER_PAUSE_MS;
    core->scheduler.term = leader->term;
    core_set_time(core);
    missing_graders_take_over(&core->scheduler, leader);
    metric_set(core->metrics, SCHEDULER_IS_LEADER, 1);
    while (core_may_continue(core)) {
        struct bw_error error;
        publish_recovering(core);
        core_reset(core);
        if (core_recover(core, &error) == BW_OK) {
            pause_ms = RECOVER_PAUSE_MS;
            core_carry_out(core);
            core_work(core);
            core_complete_hand_outs(core);
            continue;
        }
        log_warning("recovery failed", log_text("reason", error.message));
        core_pause(core, pause_ms);
        pause_ms = pause_ms * 2 < RECOVER_PAUSE_MAX_MS ? pause_ms * 2 : RECOVER_PAUSE_MAX_MS;
    }
    metric_set(core->metrics, SCHEDULER_IS_LEADER, 0);
    publish_deposed(core);
    core_reset(core);
}
