#include "scheduler/rules/query_answers.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "scheduler/rules/asked_workers.h"
#include "scheduler/rules/explain.h"
#include "scheduler/rules/estimate.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/worker_liveness.h"
#include "scheduler/state/queue_position.h"

enum {
    QUERY_MEMORY_MS = 10000, /* longer than any client's request waits */
    LIST_PAUSE_MS = 100,     /* least time between two lists of workers */
    ANSWERS_AT_ONCE = 5000,  /* in one callback */
    ANSWERS_BYTES = 8 * 1024 * 1024
};

/* ---- The queue ---- */

static bool is_being_handed_out(const struct scheduler *scheduler, const char *job)
{
    const struct live_lease *lease = lease_table_find(&scheduler->leases, job);
    return lease != NULL && lease->state == LEASE_INSERTING;
}

/* {"position": N}, with "paused" if nothing of the run is handed out now. */
static json_t *place_answer(const struct scheduler *scheduler, const struct active_run *run,
                            uint64_t ahead)
{
    json_t *answer = json_pack("{s:I}", "position", (json_int_t)ahead);
    const struct pause *pause = pausing_of_run(scheduler, run);
    if (pause != NULL)
        json_object_set_new(answer, "paused", pause_json(pause));
    return answer;
}

/* As place_answer says; {"passed": true}: the job is finished or at a grader; {}: its phase has not
 * begun. */
static json_t *position_answer(const struct scheduler *scheduler, const char *text)
{
    struct job_id job;
    uint32_t slot;
    uint64_t ahead;
    const struct active_run *run = job_id_parse(text, &job) ? queue_find(&scheduler->queue, job.run)
                                                            : NULL;
    if (run == NULL)
        return json_pack("{s:b}", "passed", 1);
    if (!run_job_slot(run->run.has_pre, run->run.students, run->run.has_post, job.kind, job.index,
                      &slot))
        return json_object();
    if (is_being_handed_out(scheduler, text))
        return json_pack("{s:i}", "position", 0);
    if (queue_position(run, slot, &ahead))
        return place_answer(scheduler, run, ahead);
    bool is_passed = summary_outcome(run->run.summary[slot]) != OUTCOME_NONE ||
                     lease_table_find(&scheduler->leases, text) != NULL ||
                     run_phase_is_over(run->phase);
    return is_passed ? json_pack("{s:b}", "passed", 1) : json_object();
}

static json_t *length_answer(const struct scheduler *scheduler, const char *course)
{
    json_t *answer = json_pack("{s:I}", "length",
                               (json_int_t)queue_course_length(&scheduler->queue, course));
    const struct pause *pause = pause_table_of(&scheduler->pauses, PAUSE_COURSE, course,
                                               scheduler->date_ms);
    if (pause == NULL)
        pause = pause_table_of(&scheduler->pauses, PAUSE_CLUSTER, "", scheduler->date_ms);
    if (pause != NULL)
        json_object_set_new(answer, "paused", pause_json(pause));
    return answer;
}

/* ---- Workers ---- */

/* "paused", "draining" or "drained"; "active" if jobs are handed to it. */
static const char *worker_state(const struct scheduler *scheduler,
                                const struct known_worker *worker, bool is_paused)
{
    const struct pause *pause = pausing_of_worker(scheduler, worker);
    if (pause != NULL && pause->is_drain)
        return worker->held > 0 ? "draining" : "drained";
    return is_paused ? "paused" : "active";
}

/* Without the key "tags" if there are none, "fault" if it has none, and "paused" if it is not
 * paused. */
static json_t *describe_worker(const struct scheduler *scheduler, const struct known_worker *worker)
{
    json_t *paused = pausing_worker_json(scheduler, worker);
    json_t *row = json_pack("{s:s,s:I,s:b,s:b,s:s}", "hostname", worker_hostname(worker),
                            "jobs_processed", (json_int_t)worker->jobs_processed, "busy",
                            (int)(worker->held > 0), "alive", (int)worker->is_alive, "protocol",
                            protocol_title(worker->protocol));
    if (worker->tags != NULL && worker->tags[0] != '\0')
        json_object_set_new(row, "tags", worker_tags_list(worker->tags));
    if (worker->fault[0] != '\0')
        json_object_set_new(row, "fault", json_string(worker->fault));
    if (paused != NULL)
        json_object_set_new(row, "paused", paused);
    return row;
}

/* What the list says of it, its id, and more; {"unknown": true}: the worker is not known. */
static json_t *worker_answer(const struct scheduler *scheduler, const char *id)
{
    const struct known_worker *worker = worker_table_find(&scheduler->workers, id);
    if (worker == NULL)
        return json_pack("{s:b}", "unknown", 1);
    json_t *row = describe_worker(scheduler, worker);
    bool is_paused = json_object_get(row, "paused") != NULL;
    json_object_set_new(row, "id", json_string(worker->id));
    json_object_set_new(row, "held", json_integer((json_int_t)worker->held));
    json_object_set_new(row, "state", json_string(worker_state(scheduler, worker, is_paused)));
    return row;
}

static json_t *list_workers(const struct scheduler *scheduler)
{
    json_t *list = json_array();
    const struct known_worker *worker, *following;
    HASH_ITER (hh, scheduler->workers.workers, worker, following)
        json_array_append_new(list, describe_worker(scheduler, worker));
    return json_pack("{s:o}", "worker_nodes", list);
}

/* Borrows the round's list, and makes it for the first callback. */
static json_t *workers_answer(struct scheduler *scheduler)
{
    if (scheduler->worker_list == NULL) {
        scheduler->worker_list = list_workers(scheduler);
        scheduler->worker_list_bytes = json_dumpb(scheduler->worker_list, NULL, 0, JSON_COMPACT);
        scheduler->listed_ms = scheduler->now_ms;
    }
    return json_incref(scheduler->worker_list);
}

static bool may_list_workers(const struct scheduler *scheduler)
{
    return scheduler->worker_list != NULL ||
           scheduler->now_ms - scheduler->listed_ms >= LIST_PAUSE_MS;
}

/* True if the worker's replica is live and still the process at which the websocket was opened. */
static bool has_open_socket(const struct scheduler *scheduler, const struct known_worker *worker)
{
    const struct known_replica *replica = replica_table_find(&scheduler->replicas,
                                                             worker->socket_replica);
    int64_t alive_ms = scheduler->settings.heartbeat_ms / 2 < 2000
                           ? scheduler->settings.heartbeat_ms / 2
                           : 2000;
    return worker->is_alive && replica != NULL &&
           strcmp(replica->process, worker->socket_process) == 0 &&
           scheduler->now_ms - replica->seen_ms <= 3 * alive_ms + scheduler->settings.heartbeat_ms;
}

/* True if a live worker uses the id, so that another can't register with it. */
static bool is_taken(const struct scheduler *scheduler, const struct known_worker *worker)
{
    if (!protocol_properties(worker->protocol)->may_register_again)
        return true;
    if (worker->is_socket)
        return has_open_socket(scheduler, worker);
    bool was_seen = scheduler->now_ms - worker->seen_ms <= 2 * scheduler->settings.heartbeat_ms;
    return worker->is_alive && (was_seen || worker->polls != NULL);
}

/* {"taken": BOOLEAN, "epoch": N, "replica": where its websocket is, or ""}; {}: the id is unknown.
 */
static json_t *alive_answer(struct scheduler *scheduler, const char *id)
{
    const struct known_worker *worker = worker_table_find(&scheduler->workers, id);
    bool may_register = worker == NULL || !is_taken(scheduler, worker);
    if (may_register)
        asked_workers_ask(scheduler, id, ""); /* a later registration may have been missed */
    if (worker == NULL)
        return json_object();
    return json_pack("{s:b,s:I,s:s}", "taken", (int)!may_register, "epoch",
                     (json_int_t)worker->epoch, "replica",
                     worker->is_socket ? worker->socket_replica : "");
}

/* ---- The end of a websocket ---- */

static bool is_awaited(const struct scheduler *scheduler, const struct known_replica *replica,
                       int64_t query)
{
    const struct ended_worker *ended;
    LL_FOREACH (scheduler->ended, ended)
        if (ended->query == query && strcmp(ended->replica, replica->id) == 0 &&
            strcmp(ended->process, replica->process) == 0)
            return true;
    return false;
}

static void query_answers_note_end(struct scheduler *scheduler, const struct known_replica *replica,
                                   const struct signal_query *query)
{
    struct known_worker *worker = worker_table_find(&scheduler->workers, query->subject);
    if (worker != NULL && worker->epoch == query->epoch && worker->is_alive)
        worker_lost(scheduler, worker);
    if (is_awaited(scheduler, replica, query->number))
        return;
    struct ended_worker *ended = bw_alloc(sizeof *ended);
    snprintf(ended->worker, sizeof ended->worker, "%s", query->subject);
    snprintf(ended->replica, sizeof ended->replica, "%s", replica->id);
    snprintf(ended->process, sizeof ended->process, "%s", replica->process);
    ended->query = query->number;
    LL_PREPEND(scheduler->ended, ended);
}

static bool is_on_record(const struct scheduler *scheduler, const struct ended_worker *ended)
{
    const struct known_worker *worker = worker_table_find(&scheduler->workers, ended->worker);
    const struct live_lease *lease;
    if (scheduler->giving_up > 0)
        return false;
    if (worker == NULL)
        return true;
    DL_FOREACH2 (worker->leases, lease, worker_next)
        if (lease->state == LEASE_ENDING)
            return false;
    return true;
}

void query_answers_round(struct scheduler *scheduler)
{
    struct ended_worker *ended, *following;
    LL_FOREACH_SAFE (scheduler->ended, ended, following) {
        if (!is_on_record(scheduler, ended))
            continue;
        struct known_replica *replica = replica_table_find(&scheduler->replicas, ended->replica);
        if (replica != NULL && strcmp(replica->process, ended->process) == 0)
            (void)replica_ask(replica,
                              &(struct signal_query){.number = ended->query, .kind = QUERY_ENDED},
                              scheduler->now_ms);
        LL_DELETE(scheduler->ended, ended);
        free(ended);
    }
}

/* ---- All queries ---- */

static json_t *find_answer(struct scheduler *scheduler, const struct signal_query *query)
{
    switch (query->kind) {
    case QUERY_LENGTH:
        return length_answer(scheduler, query->subject);
    case QUERY_POSITION:
        return position_answer(scheduler, query->subject);
    case QUERY_WORKERS:
        return workers_answer(scheduler);
    case QUERY_ALIVE:
        return alive_answer(scheduler, query->subject);
    case QUERY_WORKER:
        return worker_answer(scheduler, query->subject);
    case QUERY_PAUSE_LIST:
        return pausing_list_json(scheduler, query->subject, query->epoch);
    case QUERY_EXPLAIN_JOB:
        return explain_job(scheduler, query->subject);
    case QUERY_EXPLAIN_RUN:
        return explain_run(scheduler, query->subject);
    case QUERY_EXPLAIN_WORKER:
        return explain_worker(scheduler, query->subject);
    case QUERY_ESTIMATE:
        return estimate_subject_json(scheduler, query->subject);
    case QUERY_ESTIMATE_COURSE:
        return estimate_course_json(scheduler, query->subject);
    case QUERY_ENDED:
    case QUERY_PAUSES:
    case QUERY_RESUMED:
        return json_object();
    }
    return json_null();
}

static bool query_is_due(const struct scheduler *scheduler, const struct pending_query *pending)
{
    return !pending->is_sent &&
           (pending->read == 0 || pausing_is_complete(scheduler, pending->read)) &&
           (pending->query.kind != QUERY_WORKERS || may_list_workers(scheduler));
}

/* Whether its answer surveys all that waits, or all graders. */
static bool query_is_survey(const struct pending_query *pending)
{
    switch (pending->query.kind) {
    case QUERY_EXPLAIN_JOB:
    case QUERY_EXPLAIN_RUN:
    case QUERY_EXPLAIN_WORKER:
    case QUERY_ESTIMATE:
    case QUERY_ESTIMATE_COURSE:
        return true;
    default:
        return false;
    }
}

bool query_answers_are_due(const struct scheduler *scheduler, const struct known_replica *replica)
{
    const struct pending_query *pending, *following;
    HASH_ITER (hh, replica->queries, pending, following)
        if (query_is_due(scheduler, pending))
            return true;
    return false;
}

json_t *query_answers_take(struct scheduler *scheduler, struct known_replica *replica)
{
    struct pending_query *pending, *following;
    json_t *answers = NULL;
    size_t bytes = 0;
    unsigned surveys = scheduler_surveys_at_once(scheduler);
    replica_forget_queries(replica, scheduler->now_ms - QUERY_MEMORY_MS);
    HASH_ITER (hh, replica->queries, pending, following) {
        if (bytes > ANSWERS_BYTES || json_array_size(answers) == ANSWERS_AT_ONCE)
            break;
        bool is_survey = query_is_survey(pending);
        if (!query_is_due(scheduler, pending) || (is_survey && surveys == 0))
            continue;
        surveys -= is_survey;
        pending->is_sent = true;
        answers = answers != NULL ? answers : json_array();
        json_array_append_new(answers,
                              json_pack("{s:I,s:o}", "question", (json_int_t)pending->query.number,
                                        "value", find_answer(scheduler, &pending->query)));
        bytes += pending->query.kind == QUERY_WORKERS ? scheduler->worker_list_bytes : 0;
    }
    return answers;
}

void query_answers_end_round(struct scheduler *scheduler)
{
    json_decref(scheduler->worker_list);
    scheduler->worker_list = NULL;
}

static void query_answers_ask(struct scheduler *scheduler, struct known_replica *replica,
                              const struct signal_query *query)
{
    struct pending_query *pending = replica_ask(replica, query, scheduler->now_ms);
    bool needs_pauses = query->kind == QUERY_PAUSES || query->kind == QUERY_RESUMED ||
                        query->kind == QUERY_PAUSE_LIST;
    if (pending == NULL || !needs_pauses)
        return;
    pending->read = pausing_want(scheduler);
    struct known_worker *worker = worker_table_find(&scheduler->workers, query->subject);
    if (query->kind == QUERY_RESUMED && worker != NULL)
        worker_resume(worker);
}

void query_answers_note(struct scheduler *scheduler, struct known_replica *replica,
                        const struct signal *signal)
{
    for (size_t i = 0; i < signal->query_count; i++) {
        const struct signal_query *query = &signal->queries[i];
        if (query->kind == QUERY_ENDED)
            query_answers_note_end(scheduler, replica, query);
        else
            query_answers_ask(scheduler, replica, query);
    }
}
