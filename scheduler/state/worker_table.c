#include "scheduler/state/worker_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum { MINIMUM_SLACK_MS = 1000 };

void worker_table_init(struct worker_table *table, int64_t heartbeat_ms)
{
    memset(table, 0, sizeof *table);
    table->heartbeat_ms = heartbeat_ms;
}

static void worker_free(struct known_worker *worker)
{
    free(worker->hostname);
    free(worker->tags);
    free(worker);
}

void worker_table_destroy(struct worker_table *table)
{
    struct known_worker *worker, *following;
    HASH_ITER (hh, table->workers, worker, following) {
        HASH_DELETE(hh, table->workers, worker);
        worker_free(worker);
    }
}

struct known_worker *worker_table_find(const struct worker_table *table, const char *id)
{
    struct known_worker *worker;
    HASH_FIND_STR(table->workers, id, worker);
    return worker;
}

struct known_worker *worker_table_add(struct worker_table *table, const char *id, int concurrency,
                                      bool is_alive, int64_t now_ms)
{
    struct known_worker *worker = worker_table_find(table, id);
    if (worker != NULL)
        return worker;
    worker = bw_alloc(sizeof *worker);
    strncpy(worker->id, id, sizeof worker->id - 1);
    worker->concurrency = concurrency;
    worker->is_alive = is_alive;
    worker->seen_ms = now_ms;
    worker->acted_ms = now_ms;
    HASH_ADD_STR(table->workers, id, worker);
    return worker;
}

void worker_table_remove(struct worker_table *table, struct known_worker *worker)
{
    HASH_DELETE(hh, table->workers, worker);
    worker_free(worker);
}

void worker_describe(struct known_worker *worker, const struct worker *recorded)
{
    worker->beats_at_work = worker->beats_at_work || recorded->beats_at_work;
    worker->sends_heartbeats = recorded->sends_heartbeats;
    worker->protocol = recorded->protocol;
    worker->epoch = recorded->epoch;
    worker->concurrency = recorded->is_socket ? 1 : recorded->concurrency;
    worker->is_socket = recorded->is_socket;
    if (recorded->jobs_processed > worker->jobs_processed)
        worker->jobs_processed = recorded->jobs_processed;
    worker->jobs_recorded = recorded->jobs_processed;
    snprintf(worker->socket_replica, sizeof worker->socket_replica, "%s", recorded->replica);
    snprintf(worker->socket_process, sizeof worker->socket_process, "%s", recorded->process);
    free(worker->hostname);
    free(worker->tags);
    snprintf(worker->fault, sizeof worker->fault, "%s", recorded->fault);
    worker->hostname = bw_copy(recorded->hostname);
    worker->tags = bw_copy(recorded->tags);
}

bool worker_seen(struct known_worker *worker, int64_t seen_ms, const char *replica)
{
    if (seen_ms > worker->seen_ms)
        worker->seen_ms = seen_ms;
    if (replica[0] != '\0')
        strncpy(worker->replica, replica, sizeof worker->replica - 1);
    if (worker->is_alive)
        return false;
    worker->is_alive = true;
    return true;
}

bool worker_beat(struct known_worker *worker)
{
    if (worker->held == 0 || worker->beats_at_work)
        return false;
    worker->beats_at_work = true;
    return true;
}

bool worker_note_result(struct known_worker *worker, bool is_quick_failure, int64_t now_ms)
{
    worker->quick_failures = is_quick_failure ? worker->quick_failures + 1 : 0;
    if (worker->quick_failures < WORKER_QUICK_FAILURES)
        return false;
    worker->paused_until_ms = now_ms + WORKER_PAUSE_MS;
    return true;
}

void worker_resume(struct known_worker *worker)
{
    worker->quick_failures = 0;
    worker->paused_until_ms = 0;
}

int64_t worker_timeout_ms(const struct worker_table *table)
{
    int64_t slack_ms = table->heartbeat_ms / 2;
    return 2 * table->heartbeat_ms + (slack_ms > MINIMUM_SLACK_MS ? slack_ms : MINIMUM_SLACK_MS);
}

bool worker_only_waits(const struct known_worker *worker)
{
    return worker->delivered == 0 && (worker->polls != NULL || worker->in_delivery > 0);
}

bool worker_is_overdue(const struct worker_table *table, const struct known_worker *worker,
                       int64_t now_ms, int64_t silence_ms)
{
    if (!worker->is_alive || worker->in_delivery > 0)
        return false;
    bool must_beat = worker->sends_heartbeats || worker->concurrency > 0 || worker->beats_at_work ||
                     (worker->held == 0 && now_ms >= worker->busy_until_ms) ||
                     protocol_properties(worker->protocol)->must_send_heartbeats;
    if (!must_beat)
        return false;
    int64_t most_ms = 2 * table->heartbeat_ms;
    int64_t stretch_ms = silence_ms < most_ms ? silence_ms : most_ms;
    return now_ms - worker->seen_ms > worker_timeout_ms(table) + stretch_ms;
}

void worker_table_count(const struct worker_table *table, uint32_t alive[PROTOCOLS])
{
    const struct known_worker *worker, *following;
    HASH_ITER (hh, table->workers, worker, following)
        alive[worker->protocol] += worker->is_alive;
}

void worker_table_faulty(const struct worker_table *table, struct faulty_workers faulty[PROTOCOLS])
{
    const struct known_worker *worker, *following;
    memset(faulty, 0, PROTOCOLS * sizeof *faulty);
    HASH_ITER (hh, table->workers, worker, following) {
        struct faulty_workers *of_protocol = &faulty[worker->protocol];
        if (worker->is_alive && worker->fault[0] != '\0' && of_protocol->count++ == 0)
            snprintf(of_protocol->fault, sizeof of_protocol->fault, "%s", worker->fault);
    }
}

bool worker_note_fault(struct known_worker *worker, const char *fault, int64_t now_ms)
{
    if (strcmp(worker->fault, fault) == 0)
        return false;
    if (fault[0] == '\0')
        worker->acted_ms = now_ms;
    snprintf(worker->fault, sizeof worker->fault, "%s", fault);
    return true;
}

uint32_t worker_table_paused(const struct worker_table *table, int64_t now_ms)
{
    const struct known_worker *worker, *following;
    uint32_t paused = 0;
    HASH_ITER (hh, table->workers, worker, following)
        paused += worker->is_alive && now_ms < worker->paused_until_ms;
    return paused;
}

void worker_goes_on(struct known_worker *worker, int64_t until_ms)
{
    if (until_ms > worker->busy_until_ms)
        worker->busy_until_ms = until_ms;
}

void worker_acted(struct known_worker *worker, int64_t now_ms)
{
    worker->acted_ms = now_ms;
    worker->has_overrun = false;
    worker->busy_until_ms = 0;
}

static bool is_stuck(const struct known_worker *worker, int64_t job_timeout_ms, int64_t now_ms)
{
    bool is_idle = !worker->is_socket && worker->held == 0 && worker->polls == NULL &&
                   worker->fault[0] == '\0';
    if (!worker->is_alive)
        return false;
    return worker->has_overrun || (is_idle && now_ms - worker->acted_ms > job_timeout_ms);
}

uint32_t worker_table_stuck(const struct worker_table *table, int64_t job_timeout_ms,
                            int64_t now_ms)
{
    const struct known_worker *worker, *following;
    uint32_t stuck = 0;
    HASH_ITER (hh, table->workers, worker, following)
        stuck += is_stuck(worker, job_timeout_ms, now_ms);
    return stuck;
}

void worker_declare_dead(struct known_worker *worker)
{
    worker->is_alive = false;
}

void worker_table_extend_deadlines(struct worker_table *table, int64_t gap_ms, int64_t now_ms)
{
    struct known_worker *worker, *following;
    HASH_ITER (hh, table->workers, worker, following) {
        worker->seen_ms += gap_ms;
        if (worker->seen_ms > now_ms)
            worker->seen_ms = now_ms;
    }
}
