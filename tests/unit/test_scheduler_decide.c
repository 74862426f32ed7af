/* Tests of the rules, driven as by scheduler/core but without I/O: events in, commands out. */
#include "scheduler/rules/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/metrics.h"

#define RUN "0123456789abcdef01234567"

enum { NOW_MS = 1000000, HEARTBEAT_MS = 10000, SILENCE_MS = 2 * HEARTBEAT_MS + HEARTBEAT_MS / 2 };

static const int64_t DATE_MS = 1700000000000;

struct fixture {
    struct scheduler scheduler;
    int64_t signals; /* number sent so far */
};

static void set_time(struct scheduler *scheduler, int64_t after_ms)
{
    scheduler->now_ms = NOW_MS + after_ms;
    scheduler->date_ms = DATE_MS + after_ms;
    scheduler->stream_seen_ms = scheduler->now_ms;
}

static int setup(void **state)
{
    struct scheduler_settings settings = {.holder = "this",
                                          .heartbeat_ms = HEARTBEAT_MS,
                                          .job_timeout_ms = 3600000,
                                          .orphan_age_ms = 86400000,
                                          .max_attempts = 2};
    struct fixture *fixture = bw_alloc(sizeof *fixture);
    scheduler_init(&fixture->scheduler, &settings, scheduler_metrics_new());
    fixture->scheduler.term = 3;
    set_time(&fixture->scheduler, 0);
    fixture->scheduler.ticked_ms = fixture->scheduler.now_ms;
    fixture->scheduler.pauses.is_reading = true; /* a read that goes on, so that none begins */
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    metrics_free(fixture->scheduler.metrics);
    scheduler_destroy(&fixture->scheduler);
    free(fixture);
    return 0;
}

/* ---- Events ---- */

static struct event *event_of(struct fixture *fixture, enum event_kind kind)
{
    return event_new(kind, fixture->scheduler.generation);
}

static void start_run_called(struct fixture *fixture, const char *id, uint32_t students)
{
    struct event *event = event_of(fixture, EVENT_RUN_CHANGED);
    event->run = (struct run){.students = students,
                              .has_stages[JOB_STUDENT] = true,
                              .timeout_ms[JOB_STUDENT] = 30000,
                              .phase = RUN_STUDENTS,
                              .created_ms = DATE_MS,
                              .started_ms = DATE_MS};
    snprintf(event->run.id, sizeof event->run.id, "%s", id);
    decide_event(&fixture->scheduler, event);
}

static void start_run(struct fixture *fixture, uint32_t students)
{
    start_run_called(fixture, RUN, students);
}

static void register_worker(struct fixture *fixture, const char *id)
{
    struct event *event = event_of(fixture, EVENT_WORKER);
    event->worker = (struct worker){.epoch = 1, .is_alive = true, .sends_heartbeats = true};
    snprintf(event->worker.id, sizeof event->worker.id, "%s", id);
    decide_event(&fixture->scheduler, event);
}

/* The replica's next signal, without content. */
static struct event *next_signal(struct fixture *fixture)
{
    struct event *event = event_of(fixture, EVENT_SIGNAL);
    struct signal *signal = &event->signal;
    snprintf(signal->replica.id, sizeof signal->replica.id, "r1");
    snprintf(signal->replica.url, sizeof signal->replica.url, "http://r1:1");
    snprintf(signal->replica.process, sizeof signal->replica.process, "p1");
    signal->number = ++fixture->signals;
    return event;
}

/* Parks a poll of each of `count` workers, numbered from `first`. The workers' ids are "w<number>".
 */
static void park(struct fixture *fixture, int64_t first, size_t count)
{
    struct event *event = next_signal(fixture);
    struct signal *signal = &event->signal;
    signal->polls = bw_alloc_array(count + 1, sizeof *signal->polls);
    signal->poll_count = count;
    for (size_t i = 0; i < count; i++) {
        signal->polls[i].poll = first + (int64_t)i;
        snprintf(signal->polls[i].worker, sizeof signal->polls[i].worker, "w%d",
                 (int)(first + (int64_t)i));
    }
    decide_event(&fixture->scheduler, event);
}

static void end_poll(struct fixture *fixture, int64_t poll)
{
    struct event *event = next_signal(fixture);
    event->signal.gone = bw_alloc(sizeof *event->signal.gone);
    event->signal.gone[0] = poll;
    event->signal.gone_count = 1;
    decide_event(&fixture->scheduler, event);
}

static void complete_lease(struct fixture *fixture, const struct command *command,
                           enum commit_outcome outcome)
{
    struct event *event = event_new(EVENT_LEASED, command->generation);
    event->leased.insert = command->lease;
    event->leased.outcome = outcome;
    decide_event(&fixture->scheduler, event);
}

/* Completes the command's callback with this answer. */
static void answer(struct fixture *fixture, struct command *command, long status, const char *reply)
{
    struct event *event = event_of(fixture, EVENT_CALLBACK);
    event->callback = command->callback;
    event->callback->status = status;
    event->callback->reply = strdup(reply);
    command->callback = NULL;
    command_free(command);
    decide_event(&fixture->scheduler, event);
}

static void complete_db_job(struct fixture *fixture, struct command *command)
{
    struct event *event = event_of(fixture, EVENT_DB_JOB);
    event->db_job = command->db_job;
    command->db_job = NULL;
    command_free(command);
    decide_event(&fixture->scheduler, event);
}

static void bring_result(struct fixture *fixture, const char *job, const char *worker)
{
    struct event *event = event_of(fixture, EVENT_RESULT);
    event->result = (struct result){.outcome = OUTCOME_SUCCEEDED, .finished_ms = DATE_MS + 5};
    snprintf(event->result.job, sizeof event->result.job, "%s", job);
    snprintf(event->result.worker, sizeof event->result.worker, "%s", worker);
    decide_event(&fixture->scheduler, event);
}

/* ---- Commands ---- */

/* The next command, which must be of that kind; owned by the caller. */
static struct command *take(struct fixture *fixture, enum command_kind kind)
{
    struct command *command = command_list_take(&fixture->scheduler.commands);
    assert_non_null(command);
    assert_int_equal(command->kind, kind);
    assert_int_equal(command->generation, fixture->scheduler.generation);
    return command;
}

/* The next database job of that kind, owned by the caller; other database jobs before it are
 * dropped. */
static struct command *take_db_job(struct fixture *fixture, enum db_job_kind kind)
{
    struct command *command = take(fixture, COMMAND_SUBMIT_DB_JOB);
    while (command->db_job->kind != kind) {
        command_free(command);
        command = take(fixture, COMMAND_SUBMIT_DB_JOB);
    }
    return command;
}

static void assert_no_commands(const struct fixture *fixture)
{
    assert_null(fixture->scheduler.commands.first);
}

static void round_of(struct fixture *fixture)
{
    assert_false(decide_round(&fixture->scheduler));
}

/* Sets up a replica in contact, and workers w1 to w<count> with parked polls of these numbers. */
static void have_polls(struct fixture *fixture, size_t count)
{
    char id[WORKER_ID_SIZE];
    for (size_t i = 1; i <= count; i++) {
        snprintf(id, sizeof id, "w%d", (int)i);
        register_worker(fixture, id);
    }
    park(fixture, 1, count);
    assert_no_commands(fixture);
    round_of(fixture);
    answer(fixture, take(fixture, COMMAND_POST_CALLBACK), 200, "{}");
    assert_no_commands(fixture);
}

/* Starts a run and runs the round that inserts a lease; the command is owned by the caller. */
static struct command *hand_out(struct fixture *fixture)
{
    round_of(fixture);
    return take(fixture, COMMAND_INSERT_LEASE);
}

/* Hands out a job up to the callback, which is the caller's. */
static struct command *send_hand_out(struct fixture *fixture)
{
    struct command *command = hand_out(fixture);
    command_list_clear(&fixture->scheduler.commands);
    complete_lease(fixture, command, COMMIT_DONE);
    command_free(command);
    round_of(fixture);
    return take(fixture, COMMAND_POST_CALLBACK);
}

/* Hands out a job and delivers it; `job` receives its id. */
static void deliver(struct fixture *fixture, char job[JOB_ID_SIZE])
{
    struct command *command = hand_out(fixture);
    memcpy(job, command->lease.lease.job, JOB_ID_SIZE);
    command_list_clear(&fixture->scheduler.commands); /* records of workers */
    complete_lease(fixture, command, COMMIT_DONE);
    command_free(command);
    round_of(fixture);
    answer(fixture, take(fixture, COMMAND_POST_CALLBACK), 200, "{\"outcomes\":[\"delivered\"]}");
}

/* Ticks at that time, with the replica alive. */
static void tick_at(struct fixture *fixture, int64_t after_ms)
{
    set_time(&fixture->scheduler, after_ms);
    park(fixture, 0, 0);
    fixture->scheduler.ticked_ms = fixture->scheduler.now_ms - DECIDE_TICK_MS;
    decide_tick(&fixture->scheduler);
}

/* The same each second of a period. */
static void tick_between(struct fixture *fixture, int64_t after_ms, int64_t until_ms)
{
    for (; after_ms <= until_ms; after_ms += 1000)
        tick_at(fixture, after_ms);
}

static bool is_alive(const struct fixture *fixture, const char *id)
{
    return worker_table_find(&fixture->scheduler.workers, id)->is_alive;
}

/* ---- Tests ---- */

static void run_goes_from_its_start_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    assert_no_commands(fixture);

    set_time(&fixture->scheduler, 40);
    struct command *command = hand_out(fixture);
    const struct lease_insert *insert = &command->lease;
    assert_string_equal(insert->lease.job, job_id_make(RUN, JOB_STUDENT, 0, job));
    assert_string_equal(insert->lease.worker, "w1");
    assert_int_equal(insert->lease.attempt, 1);
    assert_int_equal(insert->lease.term, 3);
    assert_int_equal(insert->lease.leased_ms, DATE_MS + 40);
    assert_int_equal(insert->lease.limit_ms, 90000); /* the stages' timeouts and a minute */
    assert_int_equal(insert->lease.deadline_ms, DATE_MS + 90040);
    assert_string_equal(insert->replica, "r1");
    assert_string_equal(insert->process, "p1");
    assert_int_equal(insert->poll, 1);
    assert_no_commands(fixture); /* the replica is not called before the lease is stored */
    complete_lease(fixture, command, COMMIT_DONE);
    command_free(command);
    round_of(fixture);

    command = take(fixture, COMMAND_POST_CALLBACK);
    assert_string_equal(command->callback->url, "http://r1:1/internal/v1/callbacks");
    json_t *body = json_loads(command->callback->body, 0, NULL);
    const json_t *hand_outs = json_object_get(body, "hand_outs");
    assert_int_equal(json_integer_value(json_object_get(body, "term")), 3);
    assert_int_equal(json_array_size(hand_outs), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(hand_outs, 0), "job")),
                        job);
    json_decref(body);
    assert_true(decide_has_hand_outs(&fixture->scheduler));
    answer(fixture, command, 200, "{\"outcomes\":[\"delivered\"]}");
    assert_false(decide_has_hand_outs(&fixture->scheduler));
    assert_no_commands(fixture);

    bring_result(fixture, job, "w1");
    command = take(fixture, COMMAND_SUBMIT_DB_JOB);
    assert_int_equal(command->db_job->kind, DB_JOB_SAVE_RUN);
    assert_string_equal(command->db_job->run.id, RUN);
    assert_int_equal(command->db_job->run.phase, RUN_FINISHED);
    assert_int_equal(command->db_job->run.ended_ms, DATE_MS + 5);
    complete_db_job(fixture, command);
    assert_null(queue_find(&fixture->scheduler.queue, RUN));
    assert_no_commands(fixture); /* it was never paused */
    assert_false(fixture->scheduler.must_recover);
}

/* The number of exported spans with this name, among the next commands, which are dropped. */
static unsigned count_spans(struct fixture *fixture, const char *name)
{
    struct command *command;
    unsigned count = 0;
    while ((command = command_list_take(&fixture->scheduler.commands)) != NULL) {
        count += command->kind == COMMAND_EXPORT_SPAN && strcmp(command->span.name, name) == 0;
        command_free(command);
    }
    return count;
}

static void result_that_is_faster_than_the_word_of_its_hand_out_leaves_no_span_out(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    fixture->scheduler.settings.exports_spans = true;
    have_polls(fixture, 1);
    start_run(fixture, 1);
    struct command *command = send_hand_out(fixture);
    bring_result(fixture, job_id_make(RUN, JOB_STUDENT, 0, job), "w1");
    assert_int_equal(count_spans(fixture, "hand out"), 1);
    answer(fixture, command, 200, "{\"outcomes\":[\"delivered\"]}");
    assert_int_equal(count_spans(fixture, "hand out"), 0);
}

/* The next callback; `polls` receives the numbers of the polls in its hand-outs. */
static struct command *take_callback(struct fixture *fixture, char polls[64])
{
    struct command *command = take(fixture, COMMAND_POST_CALLBACK);
    polls[0] = '\0';
    for (size_t i = 0; i < command->callback->sent_count; i++) {
        size_t used = strlen(polls);
        snprintf(polls + used, 64 - used, "%s%d", i > 0 ? " " : "",
                 (int)command->callback->sent[i].poll);
    }
    return command;
}

/* Completes the lease inserts of a round. */
static void insert_leases(struct fixture *fixture, size_t count)
{
    struct command *commands[8];
    assert_true(count <= 8);
    round_of(fixture);
    for (size_t i = 0; i < count; i++)
        commands[i] = take(fixture, COMMAND_INSERT_LEASE);
    for (size_t i = 0; i < count; i++) {
        complete_lease(fixture, commands[i], COMMIT_DONE);
        command_free(commands[i]);
    }
    round_of(fixture);
}

static void put_off_hand_out_is_sent_again_in_order(void **state)
{
    struct fixture *fixture = *state;
    char polls[64];
    have_polls(fixture, 3);
    start_run(fixture, 4);
    insert_leases(fixture, 3);
    struct command *command = take_callback(fixture, polls);
    assert_string_equal(polls, "1 2 3");

    register_worker(fixture, "w4");
    park(fixture, 4, 1);
    command_list_clear(&fixture->scheduler.commands);
    insert_leases(fixture, 1);
    assert_no_commands(fixture); /* one callback at a time */
    answer(fixture, command, 200, "{\"outcomes\":[\"later\",\"delivered\",\"later\"]}");
    round_of(fixture);
    command = take_callback(fixture, polls);
    assert_string_equal(polls, "1 3 4");
    answer(fixture, command, 200, "{\"outcomes\":[\"delivered\",\"delivered\",\"delivered\"]}");
    assert_false(decide_has_hand_outs(&fixture->scheduler));
    round_of(fixture);
    assert_no_commands(fixture); /* the attempt has not failed */
}

static void replica_that_puts_everything_off_is_called_again_after_a_pause(void **state)
{
    struct fixture *fixture = *state;
    char polls[64];
    have_polls(fixture, 2);
    start_run(fixture, 2);
    insert_leases(fixture, 2);
    answer(fixture, take_callback(fixture, polls), 200, "{\"outcomes\":[\"later\",\"later\"]}");
    round_of(fixture);
    assert_no_commands(fixture);
    set_time(&fixture->scheduler, 50);
    round_of(fixture);
    struct command *command = take_callback(fixture, polls);
    assert_string_equal(polls, "1 2");
    command_free(command);
}

static void poll_waits_again_after_a_put_off_hand_out_ended(void **state)
{
    struct fixture *fixture = *state;
    char polls[64];
    have_polls(fixture, 1);
    start_run(fixture, 2);
    insert_leases(fixture, 1);
    struct command *command = take_callback(fixture, polls);
    bring_result(fixture, command->callback->sent[0].job, "w1");
    answer(fixture, command, 200, "{\"outcomes\":[\"later\"]}");
    command_list_clear(&fixture->scheduler.commands);
    set_time(&fixture->scheduler, 50);
    insert_leases(fixture, 1); /* the poll gets the other job */
    command_free(take_callback(fixture, polls));
    assert_string_equal(polls, "1");
}

/* Checks that the poll with this number gets the next job. */
static void assert_gets_the_next_job(struct fixture *fixture, const char *poll)
{
    char polls[64];
    command_list_clear(&fixture->scheduler.commands);
    insert_leases(fixture, 1);
    command_free(take_callback(fixture, polls));
    assert_string_equal(polls, poll);
}

static void poll_waits_again_when_its_put_off_hand_out_ends(void **state)
{
    struct fixture *fixture = *state;
    char polls[64], job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 2);
    insert_leases(fixture, 1);
    struct command *command = take_callback(fixture, polls);
    memcpy(job, command->callback->sent[0].job, sizeof job);
    answer(fixture, command, 200, "{\"outcomes\":[\"later\"]}");
    bring_result(fixture, job, "w1");
    set_time(&fixture->scheduler, 50);
    assert_gets_the_next_job(fixture, "1");
}

static void poll_waits_again_when_its_hand_out_ends_before_the_callback(void **state)
{
    struct fixture *fixture = *state;
    char polls[64], job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 3);
    insert_leases(fixture, 1);
    struct command *busy = take_callback(fixture, polls);
    register_worker(fixture, "w2");
    park(fixture, 2, 1);
    command_list_clear(&fixture->scheduler.commands);
    insert_leases(fixture, 1); /* waits for the callback in flight */
    assert_no_commands(fixture);
    job_id_make(RUN, JOB_STUDENT, 1, job);
    bring_result(fixture, job, "w2");
    command_list_clear(&fixture->scheduler.commands);
    answer(fixture, busy, 200, "{\"outcomes\":[\"delivered\"]}");
    assert_gets_the_next_job(fixture, "2");
}

static void poll_waits_again_when_its_hand_out_ends_in_a_failed_callback(void **state)
{
    struct fixture *fixture = *state;
    char polls[64];
    have_polls(fixture, 1);
    start_run(fixture, 2);
    insert_leases(fixture, 1);
    struct command *command = take_callback(fixture, polls);
    bring_result(fixture, command->callback->sent[0].job, "w1");
    answer(fixture, command, 0, "");
    command_list_clear(&fixture->scheduler.commands);
    set_time(&fixture->scheduler, 1000);
    command = hand_out(fixture);
    assert_int_equal(command->lease.poll, 1);
    command_free(command);
    command_free(take_callback(
        fixture, polls)); /* asks for a full resync, since the poll may have been answered */
    assert_string_equal(polls, "");
}

static void poll_that_ended_during_its_hand_out_does_not_wait_again(void **state)
{
    struct fixture *fixture = *state;
    char polls[64];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    insert_leases(fixture, 1);
    struct command *command = take_callback(fixture, polls);
    end_poll(fixture, 1);
    answer(fixture, command, 200, "{\"outcomes\":[\"undeliverable\"]}");
    command_list_clear(&fixture->scheduler.commands);
    round_of(fixture);
    command_list_clear(&fixture->scheduler.commands);
    assert_int_equal(fixture->scheduler.replicas.waiting, 0);
}

static void job_that_was_put_off_until_its_deadline_has_not_failed(void **state)
{
    struct fixture *fixture = *state;
    char polls[64];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    insert_leases(fixture, 1);
    answer(fixture, take_callback(fixture, polls), 200, "{\"outcomes\":[\"later\"]}");
    tick_between(fixture, 1000, 91000);
    struct command *command = take_db_job(fixture, DB_JOB_END_LEASE);
    assert_int_equal(command->db_job->lease.end, LEASE_RELEASED);
    command_free(command);
    command_list_clear(&fixture->scheduler.commands);
}

static void hand_outs_are_made_in_steps_and_each_job_once(void **state)
{
    enum { JOBS = 150 };
    struct fixture *fixture = *state;
    bool is_handed_out[JOBS] = {false};
    size_t steps = 0, largest = 0, total = 0;
    have_polls(fixture, JOBS + 10);
    start_run(fixture, JOBS);
    for (bool is_more = true; is_more; steps++) {
        size_t count = 0;
        struct command *command;
        is_more = decide_round(&fixture->scheduler);
        while ((command = command_list_take(&fixture->scheduler.commands)) != NULL) {
            struct job_id job;
            assert_int_equal(command->kind, COMMAND_INSERT_LEASE);
            assert_true(job_id_parse(command->lease.lease.job, &job));
            assert_false(is_handed_out[job.index]);
            is_handed_out[job.index] = true;
            count++;
            command_free(command);
        }
        total += count;
        largest = count > largest ? count : largest;
    }
    assert_int_equal(total, JOBS);
    assert_true(steps >= 3);
    assert_true(largest <= 64);
}

static void lease_that_is_not_inserted_asks_for_recovery(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    start_run(fixture, 1);
    struct command *command = hand_out(fixture);
    complete_lease(fixture, command, COMMIT_DUPLICATE);
    command_free(command);
    assert_true(fixture->scheduler.must_recover);
    assert_no_commands(fixture);
}

static void job_of_silent_workers_is_retried_and_finally_given_up(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 2);
    start_run(fixture, 1);
    for (int attempt = 1; attempt <= 2; attempt++) {
        int64_t after_ms = attempt * (SILENCE_MS + 1);
        deliver(fixture, job);
        tick_at(fixture, after_ms);
        struct command *command = take_db_job(fixture, DB_JOB_END_LEASE);
        assert_string_equal(command->db_job->lease.job, job);
        assert_int_equal(command->db_job->lease.attempt, attempt);
        assert_int_equal(command->db_job->lease.end, LEASE_LOST);
        command_list_clear(&fixture->scheduler.commands);
        command->db_job->lease.has_ended = true;
        complete_db_job(fixture, command);
    }
    struct command *command = take(fixture, COMMAND_INSERT_RESULT);
    assert_string_equal(command->result.job, job);
    assert_int_equal(command->result.outcome, OUTCOME_FAILED);
    assert_int_equal(command->result.attempts, 2);
    assert_string_equal(command->result.reason, "grader lost 2 times");
    assert_int_equal(command->result.owner, OWNER_INFRASTRUCTURE);
    struct event *event = event_of(fixture, EVENT_GIVEN_UP);
    event->given_up.result = command->result;
    event->given_up.inserted = command->result.outcome;
    event->given_up.outcome = COMMIT_DONE;
    command_free(command);
    assert_int_equal(fixture->scheduler.giving_up, 1);
    decide_event(&fixture->scheduler, event);
    assert_int_equal(fixture->scheduler.giving_up, 0);
    command = take_db_job(fixture, DB_JOB_SAVE_RUN);
    assert_int_equal(command->db_job->run.phase, RUN_FINISHED);
    command_free(command);
}

enum { LONG_MS = 4 * SILENCE_MS };

static void worker_that_polled_long_and_silently_keeps_its_job(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    tick_between(fixture, 1000, LONG_MS);
    command_list_clear(&fixture->scheduler.commands);
    start_run(fixture, 1);
    deliver(fixture, job);
    tick_between(fixture, LONG_MS + 1000, LONG_MS + SILENCE_MS);
    assert_true(is_alive(fixture, "w1"));
    tick_at(fixture, LONG_MS + SILENCE_MS + 1000);
    assert_false(is_alive(fixture, "w1"));
    command_free(take_db_job(fixture, DB_JOB_END_LEASE));
}

static void worker_is_timed_from_the_end_of_its_poll(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    tick_between(fixture, 1000, LONG_MS);
    end_poll(fixture, 1);
    tick_between(fixture, LONG_MS + 1000, LONG_MS + SILENCE_MS);
    assert_true(is_alive(fixture, "w1"));
    tick_at(fixture, LONG_MS + SILENCE_MS + 1000);
    assert_false(is_alive(fixture, "w1"));
}

/* Lets a worker wait long, then hands out a job up to the callback; the command is owned by the
 * caller. */
static struct command *send_after_long_wait(struct fixture *fixture)
{
    have_polls(fixture, 1);
    tick_between(fixture, 1000, LONG_MS);
    command_list_clear(&fixture->scheduler.commands);
    start_run(fixture, 1);
    return send_hand_out(fixture);
}

static void worker_stays_alive_during_a_slow_hand_out(void **state)
{
    struct fixture *fixture = *state;
    struct command *command = send_after_long_wait(fixture);
    int64_t delivered_ms = LONG_MS + 2 * SILENCE_MS;
    tick_between(fixture, LONG_MS + 1000, delivered_ms);
    assert_true(is_alive(fixture, "w1"));
    command_list_clear(&fixture->scheduler.commands);
    answer(fixture, command, 200, "{\"outcomes\":[\"delivered\"]}");
    tick_between(fixture, delivered_ms + 1000, delivered_ms + SILENCE_MS);
    assert_true(is_alive(fixture, "w1"));
}

static void worker_whose_hand_out_fails_waits_on(void **state)
{
    struct fixture *fixture = *state;
    const char *reply = "{\"outcomes\":[\"undeliverable\"],\"reasons\":{\"0\":\"x\"}}";
    answer(fixture, send_after_long_wait(fixture), 200, reply);
    tick_between(fixture, LONG_MS + 1000, 2 * LONG_MS); /* the end of its lease is not stored yet */
    assert_true(is_alive(fixture, "w1"));
}

static void worker_whose_poll_ended_is_timed_from_then_on(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, send_after_long_wait(fixture), 200, "{\"outcomes\":[\"gone\"]}");
    tick_between(fixture, LONG_MS + 1000, LONG_MS + SILENCE_MS);
    assert_true(is_alive(fixture, "w1"));
    tick_at(fixture, LONG_MS + SILENCE_MS + 1000);
    assert_false(is_alive(fixture, "w1"));
}

/* w1 holds a delivered job and has parked the poll with that number. */
static void work_and_poll(struct fixture *fixture, int64_t poll)
{
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    deliver(fixture, job);
    struct event *event = next_signal(fixture);
    event->signal.polls = bw_alloc(sizeof *event->signal.polls);
    event->signal.polls[0].poll = poll;
    snprintf(event->signal.polls[0].worker, sizeof event->signal.polls[0].worker, "w1");
    event->signal.poll_count = 1;
    decide_event(&fixture->scheduler, event);
}

static void worker_with_a_job_is_not_protected_by_another_poll(void **state)
{
    struct fixture *fixture = *state;
    work_and_poll(fixture, 2);
    tick_between(fixture, 1000, SILENCE_MS + 1000);
    assert_false(is_alive(fixture, "w1"));
}

/* The poll of w1, who has been silent with a job for nearly the whole timeout, gets another job. */
static struct command *send_second_job(struct fixture *fixture)
{
    work_and_poll(fixture, 2);
    tick_between(fixture, 1000, SILENCE_MS - 500);
    command_list_clear(&fixture->scheduler.commands);
    start_run_called(fixture, "89abcdef0123456701234567", 1);
    return send_hand_out(fixture);
}

static void worker_is_timed_from_the_delivery_of_its_last_job(void **state)
{
    struct fixture *fixture = *state;
    struct command *command = send_second_job(fixture);
    tick_between(fixture, SILENCE_MS, SILENCE_MS + 2000);
    assert_true(is_alive(fixture, "w1")); /* the outcome is not known yet */
    command_list_clear(&fixture->scheduler.commands);
    answer(fixture, command, 200, "{\"outcomes\":[\"delivered\"]}");
    tick_between(fixture, SILENCE_MS + 3000, 2 * SILENCE_MS);
    assert_true(is_alive(fixture, "w1"));
    tick_between(fixture, 2 * SILENCE_MS, 2 * SILENCE_MS + 3000);
    assert_false(is_alive(fixture, "w1"));
}

static void worker_whose_second_job_is_not_delivered_is_lost(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, send_second_job(fixture), 200, "{\"outcomes\":[\"gone\"]}");
    tick_between(fixture, SILENCE_MS, SILENCE_MS + 2000);
    assert_false(is_alive(fixture, "w1"));
}

static void ask_for_workers(struct fixture *fixture, int64_t number)
{
    struct event *event = next_signal(fixture);
    event->signal.queries = bw_alloc(sizeof *event->signal.queries);
    event->signal.queries[0].number = number;
    event->signal.queries[0].kind = QUERY_WORKERS;
    event->signal.query_count = 1;
    decide_event(&fixture->scheduler, event);
}

/* The number of answers in the callback, each of which must list `workers` workers. */
static size_t count_answers(const struct command *command, size_t workers)
{
    json_t *body = json_loads(command->callback->body, 0, NULL), *answer;
    const json_t *answers = json_object_get(body, "answers");
    size_t index, count = json_array_size(answers);
    json_array_foreach (answers, index, answer) {
        const json_t *value = json_object_get(answer, "value");
        assert_int_equal(json_array_size(json_object_get(value, "worker_nodes")), workers);
    }
    json_decref(body);
    return count;
}

static void query_that_is_repeated_is_answered_once(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 2);
    for (int i = 0; i < 5; i++)
        ask_for_workers(fixture, 1);
    round_of(fixture);
    struct command *command = take(fixture, COMMAND_POST_CALLBACK);
    assert_int_equal(count_answers(command, 2), 1);
    ask_for_workers(fixture, 1); /* again, before the answer has arrived */
    answer(fixture, command, 200, "{}");
    set_time(&fixture->scheduler, 1000);
    round_of(fixture);
    assert_no_commands(fixture);
}

static void too_large_answers_are_not_sent_again(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 2);
    ask_for_workers(fixture, 1);
    round_of(fixture);
    answer(fixture, take(fixture, COMMAND_POST_CALLBACK), 413, "{}");
    set_time(&fixture->scheduler, 5000);
    round_of(fixture);
    struct command *command = take(fixture, COMMAND_POST_CALLBACK);
    assert_int_equal(count_answers(command, 2), 0);
    command_free(command);
}

static void answers_of_a_callback_are_bounded_and_the_rest_follows(void **state)
{
    enum { WORKERS = 30000, ASKED = 12 };
    struct fixture *fixture = *state;
    char id[WORKER_ID_SIZE];
    size_t answered = 0, callbacks = 0;
    have_polls(fixture, 1);
    for (int i = 2; i <= WORKERS; i++) {
        snprintf(id, sizeof id, "w%d", i);
        register_worker(fixture, id);
    }
    for (int i = 1; i <= ASKED; i++)
        ask_for_workers(fixture, i);
    for (; answered < ASKED; callbacks++) {
        set_time(&fixture->scheduler, 1000 * (int64_t)(callbacks + 1));
        round_of(fixture);
        assert_null(fixture->scheduler.worker_list); /* only kept for one round */
        struct command *command = take(fixture, COMMAND_POST_CALLBACK);
        assert_true(strlen(command->callback->body) < 16 * 1024 * 1024);
        answered += count_answers(command, WORKERS);
        answer(fixture, command, 200, "{}");
    }
    assert_int_equal(answered, ASKED);
    assert_true(callbacks > 1);
}

static void lists_of_workers_have_a_least_interval(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    ask_for_workers(fixture, 1);
    round_of(fixture);
    answer(fixture, take(fixture, COMMAND_POST_CALLBACK), 200, "{}");
    ask_for_workers(fixture, 2);
    round_of(fixture);
    assert_no_commands(fixture);
    set_time(&fixture->scheduler, 200);
    round_of(fixture);
    struct command *command = take(fixture, COMMAND_POST_CALLBACK);
    assert_int_equal(count_answers(command, 1), 1);
    command_free(command);
}

static void refusal_for_a_later_leader_ends_trust(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    struct command *command = hand_out(fixture);
    memcpy(job, command->lease.lease.job, sizeof job);
    complete_lease(fixture, command, COMMIT_DONE);
    command_free(command);
    round_of(fixture);
    answer(fixture, take(fixture, COMMAND_POST_CALLBACK), 409, "{\"term\":4}");
    command_free(take(fixture, COMMAND_DISTRUST_LEADERSHIP));
    assert_no_commands(fixture);
}

static void event_of_another_generation_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    int64_t counted = metric_read(fixture->scheduler.metrics, SCHEDULER_EVENTS);
    struct event *event = event_new(EVENT_STREAM_LOST, fixture->scheduler.generation - 1);
    decide_event(&fixture->scheduler, event);
    assert_false(fixture->scheduler.must_recover);
    assert_int_equal(metric_read(fixture->scheduler.metrics, SCHEDULER_EVENTS), counted + 1);
    decide_event(&fixture->scheduler, event_of(fixture, EVENT_STREAM_LOST));
    assert_true(fixture->scheduler.must_recover);
}

/* An end of a lease that is done with `code`, as asked for by an earlier generation. */
static void complete_late_end(struct fixture *fixture, const char *job, uint32_t attempt,
                              enum bw_code code)
{
    struct db_job *db_job = db_job_new(DB_JOB_END_LEASE, fixture->scheduler.generation - 1);
    snprintf(db_job->lease.job, sizeof db_job->lease.job, "%s", job);
    db_job->lease.attempt = attempt;
    db_job->lease.has_ended = code == BW_OK;
    db_job->code = code;
    struct event *event = event_new(EVENT_DB_JOB, db_job->generation);
    event->db_job = db_job;
    decide_event(&fixture->scheduler, event);
}

static void end_of_a_lease_behind_a_recovery_causes_another(void **state)
{
    struct fixture *fixture = *state;
    const enum bw_code codes[] = {BW_OK, BW_UNAVAILABLE};
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    deliver(fixture, job);
    complete_late_end(fixture, job, 2, BW_OK);            /* of another attempt */
    complete_late_end(fixture, RUN "10000009", 1, BW_OK); /* of another job */
    assert_false(fixture->scheduler.must_recover);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fixture->scheduler.must_recover = false;
        complete_late_end(fixture, job, 1, codes[i]);
        assert_true(fixture->scheduler.must_recover);
    }
}

static void nothing_is_handed_out_after_a_stop(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    start_run(fixture, 1);
    decide_event(&fixture->scheduler, event_new(EVENT_STOP, 0));
    assert_true(fixture->scheduler.is_stopping);
    round_of(fixture);
    assert_no_commands(fixture);
}

static void shutdown_round_still_notifies_the_replica_of_a_lease(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    start_run(fixture, 1);
    struct command *command = hand_out(fixture);
    decide_event(&fixture->scheduler, event_new(EVENT_STOP, 0));
    complete_lease(fixture, command, COMMIT_DONE);
    command_free(command);
    decide_shutdown_round(&fixture->scheduler);
    command = take(fixture, COMMAND_POST_CALLBACK);
    assert_int_equal(command->callback->sent_count, 1);
    command_free(command);
}

static void nothing_is_handed_out_before_hand_outs_open(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    start_run(fixture, 1);
    fixture->scheduler.opens_ms = fixture->scheduler.now_ms + 2000;
    round_of(fixture); /* the replica answers, but has not sent a full resync */
    assert_no_commands(fixture);
    set_time(&fixture->scheduler, 2000);
    command_free(hand_out(fixture));
}

static void reset_drops_commands_and_keeps_deadlines(void **state)
{
    struct fixture *fixture = *state;
    int64_t generation = fixture->scheduler.generation, deadline_ms;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    round_of(fixture);
    assert_non_null(fixture->scheduler.commands.first);
    scheduler_reset(&fixture->scheduler);
    assert_no_commands(fixture);
    assert_int_equal(fixture->scheduler.generation, generation + 1);
    assert_int_equal(fixture->scheduler.term, 3);
    assert_null(queue_find(&fixture->scheduler.queue, RUN));
    assert_true(kept_deadlines_find(&fixture->scheduler.kept_deadlines,
                                    job_id_make(RUN, JOB_STUDENT, 0, job), 1, &deadline_ms));
    assert_int_equal(deadline_ms, NOW_MS + 90000);
}

static void commands_keep_their_order(void **state)
{
    (void)state;
    struct command_list list = {0};
    assert_null(command_list_take(&list));
    for (int64_t i = 1; i <= 3; i++)
        command_list_append(&list, COMMAND_DISTRUST_LEADERSHIP, i);
    for (int64_t i = 1; i <= 2; i++) {
        struct command *command = command_list_take(&list);
        assert_int_equal(command->generation, i);
        assert_null(command->next);
        command_free(command);
    }
    command_list_append(&list, COMMAND_DISTRUST_LEADERSHIP, 4);
    assert_int_equal(list.first->generation, 3);
    assert_int_equal(list.first->next->generation, 4);
    command_list_clear(&list);
    assert_null(list.first);
    assert_null(list.last);
}

/* Checks that the next callback asks for a full resync. */
static void assert_asks_for_resync(struct fixture *fixture)
{
    round_of(fixture);
    struct command *command = take(fixture, COMMAND_POST_CALLBACK);
    json_t *body = json_loads(command->callback->body, 0, NULL);
    assert_true(json_is_true(json_object_get(body, "announce")));
    json_decref(body);
    command_free(command);
}

static void gap_in_the_numbers_of_signals_asks_for_a_resync(void **state)
{
    struct fixture *fixture = *state;
    have_polls(fixture, 1);
    park(fixture, 0, 0);
    round_of(fixture);
    assert_no_commands(fixture); /* the next number */
    fixture->signals++;          /* is lost */
    park(fixture, 0, 0);
    assert_asks_for_resync(fixture);
}

static void describe_socket(struct worker *worker, int64_t epoch, const char *replica,
                            const char *process)
{
    *worker = (struct worker){.id = "w1", .epoch = epoch, .is_alive = true, .is_socket = true};
    snprintf(worker->replica, sizeof worker->replica, "%s", replica);
    snprintf(worker->process, sizeof worker->process, "%s", process);
}

static void poll_of_a_websocket_elsewhere_waits_until_its_registration_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct event *event = event_of(fixture, EVENT_WORKER);
    describe_socket(&event->worker, 1, "r2", "p2");
    decide_event(&fixture->scheduler, event);
    park(fixture, 1, 1);
    struct command *command = take(fixture, COMMAND_SUBMIT_DB_JOB);
    assert_int_equal(command->db_job->kind, DB_JOB_READ_WORKER);
    assert_string_equal(command->db_job->read.worker.id, "w1");
    assert_int_equal(fixture->scheduler.replicas.waiting, 0);
    describe_socket(&command->db_job->read.worker, 2, "r1", "p1");
    complete_db_job(fixture, command);
    assert_asks_for_resync(fixture);
    park(fixture, 1, 1);
    assert_int_equal(fixture->scheduler.replicas.waiting, 1);
}

/* ---- Jobs that are returned ---- */

static void bring_return_by(struct fixture *fixture, const char *job, uint32_t attempt,
                            const char *worker, const char *reason, bool is_ruled)
{
    struct event *event = event_of(fixture, EVENT_RETURNED);
    event->returned = (struct lease){
        .attempt = attempt, .end = LEASE_RETURNED, .is_ruled = is_ruled};
    snprintf(event->returned.job, sizeof event->returned.job, "%s", job);
    snprintf(event->returned.worker, sizeof event->returned.worker, "%s", worker);
    snprintf(event->returned.reason, sizeof event->returned.reason, "%s", reason);
    decide_event(&fixture->scheduler, event);
}

static void bring_return(struct fixture *fixture, const char *job, uint32_t attempt,
                         const char *worker, const char *reason)
{
    bring_return_by(fixture, job, attempt, worker, reason, false);
}

/* A poll of that worker. */
static void park_worker(struct fixture *fixture, int64_t poll, const char *worker)
{
    struct event *event = next_signal(fixture);
    event->signal.polls = bw_alloc(sizeof *event->signal.polls);
    event->signal.poll_count = 1;
    event->signal.polls[0].poll = poll;
    snprintf(event->signal.polls[0].worker, sizeof event->signal.polls[0].worker, "%s", worker);
    decide_event(&fixture->scheduler, event);
    command_list_clear(&fixture->scheduler.commands);
}

/* Hands out one job, and checks who gets which attempt. */
static void deliver_to(struct fixture *fixture, uint32_t attempt, const char *worker,
                       char job[JOB_ID_SIZE])
{
    deliver(fixture, job);
    const struct live_lease *lease = lease_table_find(&fixture->scheduler.leases, job);
    assert_non_null(lease);
    assert_int_equal(lease->attempt, attempt);
    assert_string_equal(lease->worker->id, worker);
    command_list_clear(&fixture->scheduler.commands);
}

static void assert_nobody_gets_a_job(struct fixture *fixture)
{
    round_of(fixture);
    const struct command *command = fixture->scheduler.commands.first;
    for (; command != NULL; command = command->next)
        assert_int_not_equal(command->kind, COMMAND_INSERT_LEASE);
    command_list_clear(&fixture->scheduler.commands);
}

static void returned_job_goes_to_another_worker_without_a_failed_attempt(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE], again[JOB_ID_SIZE];
    have_polls(fixture, 2);
    start_run(fixture, 1);
    deliver_to(fixture, 1, "w1", job);
    bring_return(fixture, job, 1, "w1", "disk full");
    bring_return(fixture, job, 1, "w1", "disk full"); /* the stream may tell it twice */
    deliver_to(fixture, 2, "w2", again);
    assert_string_equal(again, job);
    const struct live_lease *lease = lease_table_find(&fixture->scheduler.leases, job);
    assert_int_equal(failed_attempts_total(&lease->failed_attempts), 0);
    assert_int_equal(metric_read(fixture->scheduler.metrics, SCHEDULER_JOBS_RETURNED_CLASSIC), 1);
    assert_int_equal(metric_read(fixture->scheduler.metrics, SCHEDULER_JOBS_RETURNED_COURSE), 0);
    bring_result(fixture, job, "w2");
    const struct active_run *run = queue_find(&fixture->scheduler.queue, RUN);
    assert_int_equal(summary_attempts(run->run.summary[0]), 1);
    assert_null(run->returned);
}

static void returned_job_waits_for_another_worker_and_the_others_do_not_wait_for_it(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE], other[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 2);
    deliver_to(fixture, 1, "w1", job);
    bring_return(fixture, job, 1, "w1", "disk full");
    park_worker(fixture, 11, "w1");
    deliver_to(fixture, 1, "w1", other);
    assert_string_not_equal(other, job);
    register_worker(fixture, "w2");
    park_worker(fixture, 12, "w2");
    tick_at(fixture, 1000);
    command_list_clear(&fixture->scheduler.commands);
    deliver_to(fixture, 2, "w2", other);
    assert_string_equal(other, job);
}

static void worker_that_returned_a_job_gets_it_again_after_half_a_minute(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    deliver_to(fixture, 1, "w1", job);
    bring_return(fixture, job, 1, "w1", "disk full");
    park_worker(fixture, 11, "w1");
    for (int64_t after_ms = 1000; after_ms < 30000; after_ms += 1000) {
        tick_at(fixture, after_ms);
        assert_nobody_gets_a_job(fixture);
    }
    tick_between(fixture, 30000, 31000);
    command_list_clear(&fixture->scheduler.commands);
    deliver_to(fixture, 2, "w1", job);
}

static void job_that_five_workers_returned_fails_and_the_infrastructure_is_at_fault(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE], worker[WORKER_ID_SIZE];
    have_polls(fixture, 6);
    start_run(fixture, 1);
    for (uint32_t attempt = 1; attempt <= 5; attempt++) {
        snprintf(worker, sizeof worker, "w%u", attempt);
        tick_between(fixture, attempt * 26000 - 26000, attempt * 26000 - 1000);
        command_list_clear(&fixture->scheduler.commands);
        deliver_to(fixture, attempt, worker, job);
        bring_return(fixture, job, attempt, worker, attempt < 5 ? "disk full" : "no engine");
    }
    struct command *command = command_list_take(&fixture->scheduler.commands);
    while (command != NULL && command->kind != COMMAND_INSERT_RESULT) {
        command_free(command);
        command = command_list_take(&fixture->scheduler.commands);
    }
    assert_non_null(command);
    assert_string_equal(command->result.job, job);
    assert_int_equal(command->result.outcome, OUTCOME_FAILED);
    assert_int_equal(command->result.owner, OWNER_INFRASTRUCTURE);
    assert_int_equal(command->result.attempts, 0);
    assert_string_equal(command->result.reason, "5 graders could not run it: no engine");
    command_free(command);
    tick_between(fixture, 131000, 200000);
    assert_nobody_gets_a_job(fixture);
}

static void return_that_is_seen_while_the_lease_is_being_ended_counts(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 1);
    deliver_to(fixture, 1, "w1", job);
    tick_between(fixture, 1000, SILENCE_MS + 1000);
    struct command *command = take_db_job(fixture, DB_JOB_END_LEASE);
    assert_int_equal(command->db_job->lease.end, LEASE_LOST);
    bring_return(fixture, job, 1, "w1", "disk full");
    command->db_job->lease.has_ended = false;
    complete_db_job(fixture, command);
    assert_false(fixture->scheduler.must_recover);
    assert_null(lease_table_find(&fixture->scheduler.leases, job));
    register_worker(fixture, "w2");
    park_worker(fixture, 12, "w2");
    tick_at(fixture, SILENCE_MS + 2000);
    command_list_clear(&fixture->scheduler.commands);
    deliver_to(fixture, 2, "w2", job);
    const struct live_lease *lease = lease_table_find(&fixture->scheduler.leases, job);
    assert_int_equal(failed_attempts_total(&lease->failed_attempts), 0);
}

static void return_of_a_job_that_has_its_result_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 2);
    start_run(fixture, 2);
    deliver_to(fixture, 1, "w1", job);
    bring_result(fixture, job, "w1");
    bring_return(fixture, job, 1, "w1", "disk full");
    assert_null(queue_find(&fixture->scheduler.queue, RUN)->returned);
    assert_false(fixture->scheduler.must_recover);
}

static void worker_that_returns_five_jobs_in_a_row_is_paused(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 7);
    for (int i = 0; i < 5; i++) {
        deliver_to(fixture, 1, "w1", job);
        bring_return(fixture, job, 1, "w1", "disk full");
        park_worker(fixture, 11 + i, "w1");
    }
    assert_nobody_gets_a_job(fixture);
}

static void returns_by_an_owner_rule_do_not_pause_the_worker(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    start_run(fixture, 7);
    for (int i = 0; i < 6; i++) {
        deliver_to(fixture, 1, "w1", job);
        bring_return_by(fixture, job, 1, "w1", "exit code 75", true);
        park_worker(fixture, 11 + i, "w1");
    }
    deliver_to(fixture, 1, "w1", job);
}

static void job_that_a_rule_returned_five_times_fails_though_there_is_one_worker(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    int64_t at_ms = 0;
    have_polls(fixture, 1);
    start_run(fixture, 1);
    for (uint32_t attempt = 1; attempt <= 5; attempt++) {
        deliver_to(fixture, attempt, "w1", job);
        bring_return_by(fixture, job, attempt, "w1", "exit code 75", true);
        if (attempt == 5)
            break;
        park_worker(fixture, 10 + attempt, "w1");
        tick_between(fixture, at_ms, at_ms + (30000 << (attempt - 1)) + 1000);
        at_ms += (30000 << (attempt - 1)) + 1000;
        command_list_clear(&fixture->scheduler.commands);
    }
    struct command *command = command_list_take(&fixture->scheduler.commands);
    while (command != NULL && command->kind != COMMAND_INSERT_RESULT) {
        command_free(command);
        command = command_list_take(&fixture->scheduler.commands);
    }
    assert_non_null(command);
    assert_int_equal(command->result.owner, OWNER_INFRASTRUCTURE);
    assert_string_equal(command->result.reason, "returned 5 times: exit code 75");
    command_free(command);
}

/* ---- Jobs that end while a worker that sends no heartbeats works on them ---- */

/* Worker w1, which sends none, has a job that is cancelled. */
static struct known_worker *leave_worker(struct fixture *fixture)
{
    char job[JOB_ID_SIZE];
    have_polls(fixture, 1);
    struct known_worker *worker = worker_table_find(&fixture->scheduler.workers, "w1");
    worker->sends_heartbeats = false;
    start_run(fixture, 1);
    deliver_to(fixture, 1, "w1", job);
    struct event *event = event_of(fixture, EVENT_RESULT);
    event->result = (struct result){.outcome = OUTCOME_CANCELLED, .finished_ms = DATE_MS + 5};
    snprintf(event->result.job, sizeof event->result.job, "%s", job);
    decide_event(&fixture->scheduler, event);
    command_list_clear(&fixture->scheduler.commands);
    assert_int_equal(worker->held, 0);
    return worker;
}

static void worker_without_heartbeats_may_go_on_with_a_cancelled_job_until_its_deadline(
    void **state)
{
    struct fixture *fixture = *state;
    const struct known_worker *worker = leave_worker(fixture);
    tick_between(fixture, 1000, 89000); /* the deadline: 90 s */
    assert_true(worker->is_alive);
    tick_between(fixture, 89000, 92000);
    assert_false(worker->is_alive);
}

static void worker_that_polls_after_a_cancelled_job_is_done_with_it(void **state)
{
    struct fixture *fixture = *state;
    const struct known_worker *worker = leave_worker(fixture);
    assert_true(worker->busy_until_ms > 0);
    park_worker(fixture, 12, "w1");
    assert_int_equal(worker->busy_until_ms, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(run_goes_from_its_start_to_its_end),
        CASE(result_that_is_faster_than_the_word_of_its_hand_out_leaves_no_span_out),
        CASE(put_off_hand_out_is_sent_again_in_order),
        CASE(replica_that_puts_everything_off_is_called_again_after_a_pause),
        CASE(poll_waits_again_after_a_put_off_hand_out_ended),
        CASE(poll_waits_again_when_its_put_off_hand_out_ends),
        CASE(poll_waits_again_when_its_hand_out_ends_before_the_callback),
        CASE(poll_waits_again_when_its_hand_out_ends_in_a_failed_callback),
        CASE(poll_that_ended_during_its_hand_out_does_not_wait_again),
        CASE(job_that_was_put_off_until_its_deadline_has_not_failed),
        CASE(hand_outs_are_made_in_steps_and_each_job_once),
        CASE(lease_that_is_not_inserted_asks_for_recovery),
        CASE(job_of_silent_workers_is_retried_and_finally_given_up),
        CASE(worker_that_polled_long_and_silently_keeps_its_job),
        CASE(worker_is_timed_from_the_end_of_its_poll),
        CASE(worker_stays_alive_during_a_slow_hand_out),
        CASE(worker_whose_hand_out_fails_waits_on),
        CASE(worker_whose_poll_ended_is_timed_from_then_on),
        CASE(worker_with_a_job_is_not_protected_by_another_poll),
        CASE(worker_is_timed_from_the_delivery_of_its_last_job),
        CASE(worker_whose_second_job_is_not_delivered_is_lost),
        CASE(query_that_is_repeated_is_answered_once),
        CASE(too_large_answers_are_not_sent_again),
        CASE(answers_of_a_callback_are_bounded_and_the_rest_follows),
        CASE(lists_of_workers_have_a_least_interval),
        CASE(refusal_for_a_later_leader_ends_trust),
        CASE(event_of_another_generation_changes_nothing),
        CASE(end_of_a_lease_behind_a_recovery_causes_another),
        CASE(nothing_is_handed_out_after_a_stop),
        CASE(shutdown_round_still_notifies_the_replica_of_a_lease),
        CASE(nothing_is_handed_out_before_hand_outs_open),
        CASE(reset_drops_commands_and_keeps_deadlines),
        CASE(gap_in_the_numbers_of_signals_asks_for_a_resync),
        CASE(poll_of_a_websocket_elsewhere_waits_until_its_registration_is_read),
        CASE(returned_job_goes_to_another_worker_without_a_failed_attempt),
        CASE(returned_job_waits_for_another_worker_and_the_others_do_not_wait_for_it),
        CASE(worker_that_returned_a_job_gets_it_again_after_half_a_minute),
        CASE(job_that_five_workers_returned_fails_and_the_infrastructure_is_at_fault),
        CASE(return_that_is_seen_while_the_lease_is_being_ended_counts),
        CASE(return_of_a_job_that_has_its_result_changes_nothing),
        CASE(worker_that_returns_five_jobs_in_a_row_is_paused),
        CASE(returns_by_an_owner_rule_do_not_pause_the_worker),
        CASE(job_that_a_rule_returned_five_times_fails_though_there_is_one_worker),
        CASE(worker_without_heartbeats_may_go_on_with_a_cancelled_job_until_its_deadline),
        CASE(worker_that_polls_after_a_cancelled_job_is_done_with_it),
        cmocka_unit_test(commands_keep_their_order),
    };
    return cmocka_run_group_tests_name("decide", tests, NULL, NULL);
}
