#include "played_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/text_buffer.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/decide.h"
#include "scheduler/rules/sharing.h"

enum { HEARTBEAT_MS = 10000, JOB_TIMEOUT_MS = 3600000 };

static const int64_t boot_ms = 1000000, date_ms = 1700000000000;

static double processor_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void played_core_init(struct played_core *core, uint32_t max_attempts)
{
    const struct scheduler_settings settings = {.holder = "night",
                                                .heartbeat_ms = HEARTBEAT_MS,
                                                .job_timeout_ms = JOB_TIMEOUT_MS,
                                                .orphan_age_ms = 86400000,
                                                .max_attempts = max_attempts};
    memset(core, 0, sizeof *core);
    scheduler_init(&core->scheduler, &settings, scheduler_metrics_new());
    core->scheduler.term = 1;
    core->scheduler.pauses.is_reading =
        true; /* a read that never ends: the settings are the test's */
    played_core_set_time(core, 0);
}

void played_core_destroy(struct played_core *core)
{
    metrics_free(core->scheduler.metrics);
    scheduler_destroy(&core->scheduler);
}

void played_core_set_time(struct played_core *core, int64_t now_ms)
{
    core->scheduler.now_ms = boot_ms + now_ms;
    core->scheduler.date_ms = date_ms + now_ms;
    core->scheduler.stream_seen_ms = core->scheduler.now_ms;
}

void played_core_configure(struct played_core *core, struct scheduling *scheduling)
{
    sharing_take(&core->scheduler, scheduling);
}

static struct event *event_of(const struct played_core *core, enum event_kind kind)
{
    return event_new(kind, core->scheduler.generation);
}

static void decide_on(struct played_core *core, struct event *event)
{
    double begun_s = processor_s();
    decide_event(&core->scheduler, event);
    core->decided_s += processor_s() - begun_s;
}

void played_core_register(struct played_core *core, const char *worker, const char *tags)
{
    struct event *event = event_of(core, EVENT_WORKER);
    event->worker = (struct worker){.epoch = 1,
                                    .is_alive = true,
                                    .sends_heartbeats = true,
                                    .concurrency = 1,
                                    .protocol = PROTOCOL_COURSE};
    snprintf(event->worker.id, sizeof event->worker.id, "%s", worker);
    snprintf(event->worker.tags, sizeof event->worker.tags, "%s", tags);
    decide_on(core, event);
}

void played_core_start(struct played_core *core, const struct run *run)
{
    struct event *event = event_of(core, EVENT_RUN_CHANGED);
    event->run = *run;
    event->run.requires = run->requires != NULL ? bw_copy(run->requires) : NULL;
    event->run.protocol = PROTOCOL_COURSE;
    event->run.has_stages[JOB_STUDENT] = true;
    event->run.phase = RUN_STUDENTS;
    event->run.created_ms = event->run.started_ms = core->scheduler.date_ms;
    decide_on(core, event);
}

void played_core_result(struct played_core *core, const char *job, const char *worker,
                        enum job_outcome outcome)
{
    struct event *event = event_of(core, EVENT_RESULT);
    event->result = (struct result){
        .outcome = outcome, .finished_ms = core->scheduler.date_ms, .owner = OWNER_STUDENT};
    snprintf(event->result.job, sizeof event->result.job, "%s", job);
    snprintf(event->result.worker, sizeof event->result.worker, "%s", worker);
    decide_on(core, event);
}

void played_core_return(struct played_core *core, const char *job, uint32_t attempt,
                        const char *worker)
{
    struct event *event = event_of(core, EVENT_RETURNED);
    event->returned = (struct lease){.attempt = attempt, .end = LEASE_RETURNED};
    snprintf(event->returned.job, sizeof event->returned.job, "%s", job);
    snprintf(event->returned.worker, sizeof event->returned.worker, "%s", worker);
    snprintf(event->returned.reason, sizeof event->returned.reason, "the disk is full");
    decide_on(core, event);
}

void played_core_signal(struct played_core *core, const char *const *polling, size_t poll_count,
                        const char *const *beating, size_t beat_count)
{
    struct event *event = event_of(core, EVENT_SIGNAL);
    struct signal *signal = &event->signal;
    snprintf(signal->replica.id, sizeof signal->replica.id, "r1");
    snprintf(signal->replica.url, sizeof signal->replica.url, "http://r1:1");
    snprintf(signal->replica.process, sizeof signal->replica.process, "p1");
    signal->number = ++core->signals;
    signal->polls = bw_alloc_array(poll_count + 1, sizeof *signal->polls);
    signal->poll_count = poll_count;
    for (size_t i = 0; i < poll_count; i++) {
        signal->polls[i].poll = ++core->polls;
        snprintf(signal->polls[i].worker, sizeof signal->polls[i].worker, "%s", polling[i]);
    }
    signal->seen = bw_alloc_array(beat_count + 1, sizeof *signal->seen);
    signal->seen_count = beat_count;
    for (size_t i = 0; i < beat_count; i++)
        snprintf(signal->seen[i].worker, sizeof signal->seen[i].worker, "%s", beating[i]);
    decide_on(core, event);
}

/* ---- Commands ---- */

static void complete_lease(struct played_core *core, const struct command *command)
{
    struct event *event = event_of(core, EVENT_LEASED);
    event->leased.insert = command->lease;
    event->leased.outcome = COMMIT_DONE;
    decide_on(core, event);
}

/* Every hand-out of the callback is delivered. */
static void answer_callback(struct played_core *core, struct command *command)
{
    struct event *event = event_of(core, EVENT_CALLBACK);
    struct callback *callback = event->callback = command->callback;
    struct text_buffer reply = {0};
    command->callback = NULL;
    text_buffer_add_text(&reply, "{\"outcomes\":[");
    for (size_t i = 0; i < callback->sent_count; i++)
        text_buffer_add_text(&reply, i == 0 ? "\"delivered\"" : ",\"delivered\"");
    text_buffer_add_text(&reply, "]}");
    callback->status = 200;
    callback->reply = text_buffer_take(&reply);
    callback->reply_length = strlen(callback->reply);
    size_t count = callback->sent_count;
    struct sent_hand_out *sent = bw_alloc_array(count + 1, sizeof *sent);
    for (size_t i = 0; i < count; i++)
        sent[i] = callback->sent[i];
    decide_on(core, event);
    core->handed_out += count;
    for (size_t i = 0; i < count; i++)
        core->took(core->context, sent[i].job, sent[i].attempt, sent[i].worker);
    free(sent);
}

static void complete_db_job(struct played_core *core, struct command *command)
{
    struct event *event = event_of(core, EVENT_DB_JOB);
    event->db_job = command->db_job;
    command->db_job = NULL;
    event->db_job->code = BW_OK;
    if (event->db_job->kind == DB_JOB_END_LEASE)
        event->db_job->lease.has_ended = true;
    if (event->db_job->kind == DB_JOB_READ_WORKER)
        event->db_job->code = BW_NOT_FOUND;
    decide_on(core, event);
}

static void complete_result(struct played_core *core, const struct command *command)
{
    struct event *event = event_of(core, EVENT_GIVEN_UP);
    event->given_up.result = command->result;
    event->given_up.inserted = command->result.outcome;
    event->given_up.outcome = COMMIT_DONE;
    core->gave_up(core->context, command->result.job);
    decide_on(core, event);
}

static void carry_out(struct played_core *core, struct command *command)
{
    if (command->kind == COMMAND_INSERT_LEASE)
        complete_lease(core, command);
    else if (command->kind == COMMAND_POST_CALLBACK)
        answer_callback(core, command);
    else if (command->kind == COMMAND_SUBMIT_DB_JOB)
        complete_db_job(core, command);
    else if (command->kind == COMMAND_INSERT_RESULT)
        complete_result(core, command);
    command_free(command);
}

void played_core_round(struct played_core *core)
{
    struct command *command;
    bool goes_on = true;
    double begun_s = processor_s();
    decide_tick(&core->scheduler);
    core->decided_s += processor_s() - begun_s;
    while (goes_on) {
        begun_s = processor_s();
        goes_on = decide_round(&core->scheduler);
        core->decided_s += processor_s() - begun_s;
        while ((command = command_list_take(&core->scheduler.commands)) != NULL) {
            carry_out(core, command);
            goes_on = true;
        }
    }
}
