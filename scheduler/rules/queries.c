/*
 * scheduler_queries: what replicas ask for their clients. A question stands in the stream behind
 * everything that its asker has been told, so that what the tables say now is the answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/state/queue_position.h"

/* A worker whose websocket has ended, and a replica that waits until that is on record. */
struct ended_worker {
    char worker[WORKER_ID_SIZE];
    char replica[WORKER_ID_SIZE], process[33];
    int64_t query;
    struct ended_worker *next;
};

void scheduler_queries_forget(struct core *core)
{
    struct ended_worker *ended, *following;
    LL_FOREACH_SAFE (core->ended, ended, following)
        free(ended);
    core->ended = NULL;
}

/* ---- The queue ---- */

static bool is_being_handed_out(const struct core *core, const char *job)
{
    const struct live_lease *lease = lease_table_find(&core->leases, job);
    return lease != NULL && lease->state == LEASE_INSERTING;
}

/* {"position": N}; {"passed": true}: it is over, or with a grader; {}: its step has not begun. */
static json_t *position_answer(const struct core *core, const char *text)
{
    struct job_id job;
    uint32_t slot;
    uint64_t ahead;
    const struct active_run *run = job_id_parse(text, &job) ? queue_find(&core->queue, job.run)
                                                            : NULL;
    if (run == NULL)
        return json_pack("{s:b}", "passed", 1);
    if (!run_job_slot(run->run.has_pre, run->run.students, run->run.has_post, job.kind, job.index,
                      &slot))
        return json_object();
    if (is_being_handed_out(core, text))
        return json_pack("{s:i}", "position", 0);
    if (queue_position(&core->queue, run, slot, &ahead))
        return json_pack("{s:I}", "position", (json_int_t)ahead);
    bool is_passed = summary_outcome(run->run.summary[slot]) != OUTCOME_NONE ||
                     lease_table_find(&core->leases, text) != NULL || run_phase_is_over(run->phase);
    return is_passed ? json_pack("{s:b}", "passed", 1) : json_object();
}

static json_t *length_answer(const struct core *core, const char *course)
{
    return json_pack("{s:I}", "length", (json_int_t)queue_course_length(&core->queue, course));
}

/* ---- Workers ---- */

static json_t *workers_answer(const struct core *core)
{
    json_t *list = json_array();
    const struct known_worker *worker, *following;
    HASH_ITER (hh, core->workers.workers, worker, following)
        json_array_append_new(
            list, json_pack("{s:s,s:I,s:b,s:b,s:s}", "hostname", worker_hostname(worker),
                            "jobs_processed", (json_int_t)worker->jobs_processed, "busy",
                            (int)(worker->held > 0), "alive", (int)worker->is_alive, "protocol",
                            protocol_title(worker->protocol)));
    return json_pack("{s:o}", "worker_nodes", list);
}

/* Is the websocket open, as far as its replica can be believed? */
static bool has_open_socket(const struct core *core, const struct known_worker *worker)
{
    const struct known_replica *replica = replica_table_find(&core->replicas,
                                                             worker->socket_replica);
    int64_t life_ms = core->heartbeat_ms / 2 < 2000 ? core->heartbeat_ms / 2 : 2000;
    return worker->is_alive && replica != NULL &&
           strcmp(replica->process, worker->socket_process) == 0 &&
           core->now_ms - replica->heard_ms <= 3 * life_ms + core->heartbeat_ms;
}

/* Does the id belong to somebody who is there? */
static bool is_taken(const struct core *core, const struct known_worker *worker)
{
    if (worker->protocol != PROTOCOL_COURSE)
        return true; /* those ids are never given twice */
    if (worker->is_socket)
        return has_open_socket(core, worker);
    bool was_heard = core->now_ms - worker->heard_ms <= 2 * core->heartbeat_ms;
    return worker->is_alive && (was_heard || worker->polls != NULL);
}

/* {"taken": whether, "epoch": N, "replica": where its websocket is, or ""}; {}: nobody knows the
 * id. */
static json_t *alive_answer(const struct core *core, const char *id)
{
    const struct known_worker *worker = worker_table_find(&core->workers, id);
    if (worker == NULL)
        return json_object();
    return json_pack("{s:b,s:I,s:s}", "taken", (int)is_taken(core, worker), "epoch",
                     (json_int_t)worker->epoch, "replica",
                     worker->is_socket ? worker->socket_replica : "");
}

void worker_registered_again(struct core *core, struct known_worker *worker,
                             const struct worker *registered)
{
    if (worker->is_alive && worker->held > 0)
        worker_lost(core, worker); /* requeued, not resumed */
    worker_describe(worker, registered);
    worker->beats_at_work = false;
    (void)worker_heard(&core->workers, worker, core->now_ms, registered->replica);
}

void sockets_lost(struct core *core, const struct known_replica *replica)
{
    struct known_worker *worker, *following;
    HASH_ITER (hh, core->workers.workers, worker, following)
        if (worker->is_socket && worker->is_alive &&
            strcmp(worker->socket_replica, replica->id) == 0 &&
            strcmp(worker->socket_process, replica->process) == 0)
            worker_lost(core, worker);
}

/* ---- The end of a websocket ---- */

static void hear_end(struct core *core, const struct known_replica *replica,
                     const struct signal_query *query)
{
    struct known_worker *worker = worker_table_find(&core->workers, query->subject);
    struct ended_worker *ended = bw_alloc(sizeof *ended);
    if (worker != NULL && worker->epoch == query->epoch && worker->is_alive)
        worker_lost(core, worker);
    snprintf(ended->worker, sizeof ended->worker, "%s", query->subject);
    snprintf(ended->replica, sizeof ended->replica, "%s", replica->id);
    snprintf(ended->process, sizeof ended->process, "%s", replica->process);
    ended->query = query->number;
    LL_PREPEND(core->ended, ended);
}

static bool is_on_record(const struct core *core, const struct ended_worker *ended)
{
    const struct known_worker *worker = worker_table_find(&core->workers, ended->worker);
    const struct live_lease *lease;
    if (core->giving_up > 0)
        return false;
    if (worker == NULL)
        return true;
    DL_FOREACH2 (worker->leases, lease, worker_next)
        if (lease->state == LEASE_ENDING)
            return false;
    return true;
}

void scheduler_queries_round(struct core *core)
{
    struct ended_worker *ended, *following;
    LL_FOREACH_SAFE (core->ended, ended, following) {
        if (!is_on_record(core, ended))
            continue;
        struct known_replica *replica = replica_table_find(&core->replicas, ended->replica);
        if (replica != NULL && strcmp(replica->process, ended->process) == 0)
            replica_answer(replica, ended->query, json_object());
        LL_DELETE(core->ended, ended);
        free(ended);
    }
}

/* ---- All ---- */

static json_t *find_answer(const struct core *core, const struct signal_query *query)
{
    switch (query->kind) {
    case QUERY_LENGTH:
        return length_answer(core, query->subject);
    case QUERY_POSITION:
        return position_answer(core, query->subject);
    case QUERY_WORKERS:
        return workers_answer(core);
    case QUERY_ALIVE:
        return alive_answer(core, query->subject);
    default:
        return json_null();
    }
}

void hear_queries(struct core *core, struct known_replica *replica, const struct signal *signal)
{
    for (size_t i = 0; i < signal->query_count; i++) {
        const struct signal_query *query = &signal->queries[i];
        if (query->kind == QUERY_ENDED)
            hear_end(core, replica, query);
        else
            replica_answer(replica, query->number, find_answer(core, query));
    }
}
