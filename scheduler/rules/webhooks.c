#include "scheduler/rules/webhooks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/date.h"
#include "common/base/secret.h"
#include "common/store/run_jobs.h"
#include "scheduler/state/queue_position.h"

enum {
    PAYLOAD_VERSION = 1,
    AGAIN_MS = 1000,             /* after a failure */
    RECORDED_AT_ONCE = 200,      /* events of one database job */
    PAUSE_NEWS_MS = 3600 * 1000, /* an older pause was told by a former leader */
    WORKER_DIGEST_LENGTH = 16
};

/* ---- Payloads ---- */

/* For the format "s*", which leaves a key out. */
static const char *webhooks_or_none(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static json_t *webhooks_run_json(const struct active_run *run)
{
    return json_pack("{s:s,s:s,s:s*,s:s*,s:s*}", "id", run->run.id, "protocol",
                     protocol_title(run->run.protocol), "name", webhooks_or_none(run->run.name),
                     "course", webhooks_or_none(run->run.course), "assignment",
                     webhooks_or_none(run->run.assignment));
}

/* A new event; `payload` is stolen, and gets what all payloads begin with. */
static struct webhook_event *webhooks_event_new(enum webhook_event_kind kind, const char *id,
                                                int64_t at_ms, json_t *payload)
{
    char date[DATE_TEXT_SIZE];
    struct webhook_event *event = bw_alloc(sizeof *event);
    event->kind = kind;
    event->at_ms = at_ms;
    snprintf(event->id, sizeof event->id, "%s", id);
    json_t *whole = json_pack("{s:i,s:s,s:s,s:s}", "version", (int)PAYLOAD_VERSION, "event",
                              webhook_event_name(kind), "event_id", event->id, "at",
                              date_format(at_ms, date));
    json_object_update(whole, payload);
    json_decref(payload);
    event->payload = json_dumps(whole, JSON_COMPACT);
    json_decref(whole);
    return event;
}

static void webhooks_set_run(struct webhook_event *event, const struct active_run *run)
{
    memcpy(event->run, run->run.id, sizeof event->run);
    memcpy(event->course, run->run.course, sizeof event->course);
}

/* Numbers follow the database's date, so that those of the next leader are greater. */
static void webhooks_number(struct scheduler *scheduler, struct webhook_event_list *list)
{
    int64_t least = scheduler->date_ms * WEBHOOK_NUMBERS_PER_MS;
    for (struct webhook_event *event = list->first; event != NULL; event = event->next) {
        scheduler->webhooks.number = scheduler->webhooks.number < least
                                         ? least
                                         : scheduler->webhooks.number + 1;
        event->number = scheduler->webhooks.number;
    }
}

/* ---- Events of their own ---- */

static void webhooks_submit(struct scheduler *scheduler, struct webhook_event_list *list)
{
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_RECORD_EVENTS);
    db_job->events = *list;
    *list = (struct webhook_event_list){NULL, NULL};
    scheduler_submit(scheduler, db_job);
}

/* The next ticks submit it: a thousand workers that are lost at once must not delay the ends of
 * their leases by as many database jobs. */
static void webhooks_add(struct scheduler *scheduler, struct webhook_event *event)
{
    struct webhook_event_list list = {event, event};
    webhooks_number(scheduler, &list);
    webhook_event_list_add(&scheduler->webhooks.unrecorded, event);
}

void webhooks_completed(struct scheduler *scheduler, struct db_job *db_job)
{
    if (db_job->code == BW_OK)
        return;
    webhook_event_list_prepend(&scheduler->webhooks.unrecorded, &db_job->events);
    scheduler->webhooks.again_ms = scheduler->now_ms + AGAIN_MS;
}

/* Events of different runs are recorded for different webhooks: a database job has those of one
 * run, or of none. */
void webhooks_tick(struct scheduler *scheduler)
{
    struct webhook_event_list *unrecorded = &scheduler->webhooks.unrecorded, list = {NULL, NULL};
    struct webhook_event *event = unrecorded->first;
    if (event == NULL || scheduler->now_ms < scheduler->webhooks.again_ms)
        return;
    for (int count = 0; event != NULL && count < RECORDED_AT_ONCE; count++) {
        if (list.first != NULL && strcmp(list.first->run, event->run) != 0)
            break;
        unrecorded->first = event->next;
        webhook_event_list_add(&list, event);
        event = unrecorded->first;
    }
    webhooks_submit(scheduler, &list);
}

/* ---- Runs ---- */

void webhooks_note_failure(struct active_run *run, uint32_t slot, const struct result *result,
                           uint32_t attempts)
{
    char id[WEBHOOK_EVENT_ID_SIZE], job[JOB_ID_SIZE];
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    run_slot_job_id(&run->run, slot, job);
    enum job_owner owner = result->owner != OWNER_UNSAID ? result->owner : owner_of_kind(kind);
    json_t *shown = json_pack("{s:s,s:s,s:s,s:I,s:s*,s:s*}", "id", job, "kind", job_kind_name(kind),
                              "owner", owner_name(owner), "attempts", (json_int_t)attempts,
                              "reason", webhooks_or_none(result->reason), "signature",
                              webhooks_or_none(result->signature));
    if (kind == JOB_STUDENT)
        json_object_set_new(shown, "student", json_integer(index));
    snprintf(id, sizeof id, "%s.job_failed", job);
    struct webhook_event *event = webhooks_event_new(
        WEBHOOK_JOB_FAILED, id, result->finished_ms,
        json_pack("{s:o,s:o}", "run", webhooks_run_json(run), "job", shown));
    webhooks_set_run(event, run);
    webhook_event_list_add(&run->events, event);
}

/* How many students' jobs have ended in which way. */
static json_t *webhooks_count_students(const struct active_run *run)
{
    json_int_t counts[4] = {0};
    for (uint32_t slot = 0; slot < run->slots; slot++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
        enum job_outcome outcome = summary_outcome(run->run.summary[slot]);
        if (kind == JOB_STUDENT)
            counts[outcome == OUTCOME_SUCCEEDED   ? 0
                   : outcome == OUTCOME_FAILED    ? 1
                   : outcome == OUTCOME_CANCELLED ? 2
                                                  : 3]++;
    }
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)run->run.students, "succeeded",
                     counts[0], "failed", counts[1], "cancelled", counts[2], "superseded",
                     counts[3]);
}

static void webhooks_add_end(const struct scheduler *scheduler, const struct active_run *run,
                             struct webhook_event_list *list)
{
    char id[WEBHOOK_EVENT_ID_SIZE];
    json_t *shown = webhooks_run_json(run);
    json_object_set_new(shown, "state", json_string(run_phase_name(run->phase)));
    json_object_set_new(shown, "students", webhooks_count_students(run));
    snprintf(id, sizeof id, "%s.run_finished", run->run.id);
    struct webhook_event *event = webhooks_event_new(WEBHOOK_RUN_FINISHED, id,
                                                     run->last_result_ms != 0 ? run->last_result_ms
                                                                              : scheduler->date_ms,
                                                     json_pack("{s:o}", "run", shown));
    webhooks_set_run(event, run);
    webhook_event_list_add(list, event);
}

void webhooks_take_run(struct scheduler *scheduler, struct active_run *run, struct db_job *db_job)
{
    webhook_event_list_prepend(&db_job->events, &run->events);
    if (run_phase_is_over(run->phase))
        webhooks_add_end(scheduler, run, &db_job->events);
    webhooks_number(scheduler, &db_job->events);
}

void webhooks_keep_run(struct active_run *run, struct db_job *db_job)
{
    struct webhook_event_list kept = {NULL, NULL};
    struct webhook_event *event, *following;
    for (event = db_job->events.first; event != NULL; event = following) {
        following = event->next;
        struct webhook_event_list ended = {event, event};
        event->next = NULL;
        if (event->kind == WEBHOOK_RUN_FINISHED) /* the next save makes it again */
            webhook_event_list_clear(&ended);
        else
            webhook_event_list_add(&kept, event);
    }
    db_job->events = (struct webhook_event_list){NULL, NULL};
    webhook_event_list_prepend(&run->events, &kept);
}

/* ---- Pauses ---- */

/* A breaker pauses its run once; a person may pause it often. */
static struct webhook_event *webhooks_pause_event(const struct active_run *run,
                                                  const struct pause *pause)
{
    char id[WEBHOOK_EVENT_ID_SIZE];
    json_t *payload = json_pack("{s:o,s:o}", "run", webhooks_run_json(run), "pause",
                                pause_json(pause));
    if (pause->is_automatic) {
        json_object_set_new(payload, "signature", json_string(run->run.breaker.signature));
        snprintf(id, sizeof id, "%s.run_paused.breaker", run->run.id);
    } else {
        snprintf(id, sizeof id, "%s.run_paused.%" PRId64, run->run.id, pause->at_ms);
    }
    struct webhook_event *event = webhooks_event_new(WEBHOOK_RUN_PAUSED, id, pause->at_ms, payload);
    webhooks_set_run(event, run);
    return event;
}

void webhooks_take_pause(struct scheduler *scheduler, const struct active_run *run,
                         const struct pause *pause, struct db_job *db_job)
{
    if (run == NULL)
        return;
    webhook_event_list_add(&db_job->events, webhooks_pause_event(run, pause));
    webhooks_number(scheduler, &db_job->events);
}

void webhooks_check_pause(struct scheduler *scheduler, struct active_run *run)
{
    const struct known_pause *known = NULL;
    if (scheduler->pauses.in_force[PAUSE_RUN] > 0)
        known = pause_table_find(&scheduler->pauses, PAUSE_RUN, run->run.id, false);
    if (known == NULL || !pause_is_in_force(&known->pause, scheduler->date_ms) ||
        known->pause.at_ms == run->notified_pause_ms)
        return;
    run->notified_pause_ms = known->pause.at_ms;
    if (scheduler->date_ms - known->pause.at_ms < PAUSE_NEWS_MS)
        webhooks_add(scheduler, webhooks_pause_event(run, &known->pause));
}

/* ---- Graders ---- */

/* The id of a classic worker is its credential: its beginning is what people see. */
void webhooks_worker_lost(struct scheduler *scheduler, const struct known_worker *worker)
{
    char id[WEBHOOK_EVENT_ID_SIZE], digest[SHA256_TEXT_SIZE];
    bool is_secret = is_hex_id(worker->id, WORKER_ID_LENGTH);
    secret_digest(&(struct digest_part){worker->id, strlen(worker->id)}, 1, digest);
    snprintf(id, sizeof id, "%.*s.worker_lost.%" PRId64, (int)WORKER_DIGEST_LENGTH, digest,
             scheduler->date_ms);
    json_t *shown = json_pack("{s:s%,s:s*,s:I}", "id", worker->id,
                              is_secret ? (size_t)WORKER_SHOWN_LENGTH : strlen(worker->id),
                              "hostname", webhooks_or_none(worker_hostname(worker)), "jobs",
                              (json_int_t)worker->held);
    webhooks_add(scheduler, webhooks_event_new(WEBHOOK_WORKER_LOST, id, scheduler->date_ms,
                                               json_pack("{s:o}", "worker", shown)));
}

void webhooks_check_missing(struct scheduler *scheduler, enum protocol protocol, int64_t since_ms)
{
    char id[WEBHOOK_EVENT_ID_SIZE], date[DATE_TEXT_SIZE];
    uint64_t queued = queue_protocol_length(&scheduler->queue, protocol);
    if (since_ms == 0 || queued == 0 ||
        scheduler->webhooks.notified_missing_ms[protocol] == since_ms ||
        scheduler->date_ms - since_ms < scheduler->settings.no_workers_ms)
        return;
    scheduler->webhooks.notified_missing_ms[protocol] = since_ms;
    snprintf(id, sizeof id, "%s.no_workers.%" PRId64, protocol_title(protocol), since_ms);
    webhooks_add(scheduler,
                 webhooks_event_new(WEBHOOK_NO_WORKERS, id, scheduler->date_ms,
                                    json_pack("{s:s,s:s,s:I}", "protocol", protocol_title(protocol),
                                              "since", date_format(since_ms, date), "queued_jobs",
                                              (json_int_t)queued)));
}
