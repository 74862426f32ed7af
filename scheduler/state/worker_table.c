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

void worker_table_destroy(struct worker_table *table)
{
    struct known_worker *worker, *following;
    HASH_ITER (hh, table->workers, worker, following) {
        HASH_DELETE(hh, table->workers, worker);
        free(worker->hostname);
        free(worker);
    }
    table->alive = 0;
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
    worker->heard_ms = now_ms;
    worker->acted_ms = now_ms;
    table->alive += is_alive ? 1 : 0;
    HASH_ADD_STR(table->workers, id, worker);
    return worker;
}

void worker_table_remove(struct worker_table *table, struct known_worker *worker)
{
    table->alive -= worker->is_alive ? 1 : 0;
    HASH_DELETE(hh, table->workers, worker);
    free(worker->hostname);
    free(worker);
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
    worker->hostname = bw_copy(recorded->hostname);
}

bool worker_heard(struct worker_table *table, struct known_worker *worker, int64_t heard_ms,
                  const char *replica)
{
    if (heard_ms > worker->heard_ms)
        worker->heard_ms = heard_ms;
    if (replica[0] != '\0')
        strncpy(worker->replica, replica, sizeof worker->replica - 1);
    if (worker->is_alive)
        return false;
    worker->is_alive = true;
    table->alive++;
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

int64_t worker_timeout_ms(const struct worker_table *table)
{
    int64_t slack_ms = table->heartbeat_ms / 2;
    return 2 * table->heartbeat_ms + (slack_ms > MINIMUM_SLACK_MS ? slack_ms : MINIMUM_SLACK_MS);
}

bool worker_is_overdue(const struct worker_table *table, const struct known_worker *worker,
                       int64_t now_ms, int64_t silence_ms)
{
    if (!worker->is_alive)
        return false;
    bool must_beat = worker->sends_heartbeats || worker->concurrency > 0 || worker->beats_at_work ||
                     worker->held == 0 || worker->protocol == PROTOCOL_COURSE;
    if (!must_beat)
        return false;
    int64_t most_ms = 2 * table->heartbeat_ms;
    int64_t stretch_ms = silence_ms < most_ms ? silence_ms : most_ms;
    return now_ms - worker->heard_ms > worker_timeout_ms(table) + stretch_ms;
}

void worker_table_count(const struct worker_table *table, uint32_t alive[PROTOCOLS])
{
    const struct known_worker *worker, *following;
    HASH_ITER (hh, table->workers, worker, following)
        alive[worker->protocol] += worker->is_alive;
}

uint32_t worker_table_paused(const struct worker_table *table, int64_t now_ms)
{
    const struct known_worker *worker, *following;
    uint32_t paused = 0;
    HASH_ITER (hh, table->workers, worker, following)
        paused += worker->is_alive && now_ms < worker->paused_until_ms;
    return paused;
}

void worker_acted(struct known_worker *worker, int64_t now_ms)
{
    worker->acted_ms = now_ms;
    worker->has_overrun = false;
}

static bool is_stuck(const struct known_worker *worker, int64_t job_timeout_ms, int64_t now_ms)
{
    bool is_idle = !worker->is_socket && worker->held == 0 && worker->polls == NULL;
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

void worker_declare_dead(struct worker_table *table, struct known_worker *worker)
{
    if (!worker->is_alive)
        return;
    worker->is_alive = false;
    table->alive--;
}

void worker_table_extend_deadlines(struct worker_table *table, int64_t gap_ms, int64_t now_ms)
{
    struct known_worker *worker, *following;
    HASH_ITER (hh, table->workers, worker, following) {
        worker->heard_ms += gap_ms;
        if (worker->heard_ms > now_ms)
            worker->heard_ms = now_ms;
    }
}
