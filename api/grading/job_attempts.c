#include "api/grading/job_attempts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/grading/job_entry.h"
#include "common/base/alloc.h"
#include "common/domain/protocol_map.h"
#include "common/store/job_leases.h"

struct attempt {
    struct lease lease;
    char hostname[HOSTNAME_SIZE]; /* "": not known */
    bool is_alive;                /* its worker is */
};

struct attempts {
    struct attempt *items;
    uint32_t count;
};

static void job_attempts_take_lease(uint32_t slot, const struct lease *lease, void *context)
{
    struct attempts *attempts = context;
    (void)slot;
    attempts->items = bw_grow(attempts->items, attempts->count + 1, sizeof *attempts->items);
    attempts->items[attempts->count++] = (struct attempt){.lease = *lease};
}

static int job_attempts_compare(const void *left, const void *right)
{
    uint32_t a = ((const struct attempt *)left)->lease.attempt,
             b = ((const struct attempt *)right)->lease.attempt;
    return (a > b) - (a < b);
}

static void job_attempts_take_worker(const struct worker *worker, void *context)
{
    struct attempts *attempts = context;
    for (uint32_t i = 0; i < attempts->count; i++)
        if (strcmp(attempts->items[i].lease.worker, worker->id) == 0) {
            memcpy(attempts->items[i].hostname, worker->hostname, sizeof worker->hostname);
            attempts->items[i].is_alive = worker->is_alive;
        }
}

static enum bw_code job_attempts_read(const struct job_attempts_sources *sources,
                                      const struct run *run, uint32_t slot,
                                      struct attempts *attempts, struct bw_error *error)
{
    const struct job_leases leases = {
        .store = sources->leases, .run = run, .take = job_attempts_take_lease, .context = attempts};
    struct slot_list slots = {&slot, 1};
    enum bw_code code = job_leases_read_on(&leases, &slots, 1, error);
    if (code != BW_OK || attempts->count == 0)
        return code;
    qsort(attempts->items, attempts->count, sizeof *attempts->items, job_attempts_compare);
    const char **ids = bw_alloc_array(attempts->count, sizeof *ids);
    for (uint32_t i = 0; i < attempts->count; i++)
        ids[i] = attempts->items[i].lease.worker;
    code = worker_store_find(sources->workers, ids, attempts->count, job_attempts_take_worker,
                             attempts, error);
    free(ids);
    return code;
}

/* The number of the attempt whose grader reported the result: the last one of that grader; 0: a
 * grader reported none. */
static uint32_t job_attempts_find_reporter(const struct attempts *attempts,
                                           const struct result *result)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < attempts->count && result != NULL; i++)
        if (result->worker[0] != '\0' &&
            strcmp(attempts->items[i].lease.worker, result->worker) == 0)
            found = attempts->items[i].lease.attempt;
    return found;
}

/* How an attempt ended that did not bring the result; NULL: it has not. */
static const char *job_attempts_end_name(const struct lease *lease, const struct result *result)
{
    static const char *const names[] = {
        [LEASE_LOST] = "lost",
        [LEASE_EXPIRED] = "deadline",
        [LEASE_UNDELIVERABLE] = "undeliverable",
        [LEASE_RELEASED] = "undelivered",
        [LEASE_RETURNED] = "returned",
    };
    if (lease->end != LEASE_LIVE)
        return names[lease->end];
    if (result == NULL || result_is_held_by(result, lease->worker))
        return NULL; /* its grader may go on with a superseded job */
    return result->outcome == OUTCOME_CANCELLED ? "cancelled" : "superseded";
}

/* When an attempt ended by the result: that of the holder of a superseded job goes on behind it. */
static int64_t job_attempts_end_ms(const struct lease *lease, const struct result *result)
{
    bool was_held = result->held_until_ms != 0 && strcmp(lease->worker, result->holder) == 0;
    return was_held ? result->held_until_ms : result->finished_ms;
}

/* How the attempt ended with which a grader went on after the job was superseded, although nobody
 * ends its lease any more; NULL: it may still go on. */
static const char *job_attempts_holder_end_name(const struct attempt *attempt, int64_t date_ms)
{
    if (!attempt->is_alive)
        return "lost";
    return date_ms > attempt->lease.deadline_ms ? "deadline" : NULL;
}

void job_attempts_show_worker(enum protocol protocol, const char *worker,
                              char shown[WORKER_ID_SIZE])
{
    bool is_cut = protocol_properties(protocol)->has_hex_worker_ids;
    snprintf(shown, WORKER_ID_SIZE, "%.*s", is_cut ? WORKER_SHOWN_LENGTH : WORKER_ID_SIZE - 1,
             worker);
}

static json_t *job_attempt_make(const struct run *run, const struct attempt *attempt,
                                const struct result *result, bool is_reporter, int64_t date_ms)
{
    const struct lease *lease = &attempt->lease;
    const char *end = is_reporter ? "result" : job_attempts_end_name(lease, result);
    bool ends_with_result = is_reporter || (lease->end == LEASE_LIVE && end != NULL);
    if (end == NULL && result != NULL)
        end = job_attempts_holder_end_name(attempt, date_ms);
    int64_t ended_ms = ends_with_result ? job_attempts_end_ms(lease, result) : lease->ended_ms;
    char worker[WORKER_ID_SIZE];
    job_attempts_show_worker(run->protocol, lease->worker, worker);
    json_t *made = json_pack("{s:I,s:s}", "attempt", (json_int_t)lease->attempt, "worker", worker);
    if (attempt->hostname[0] != '\0')
        json_object_set_new(made, "hostname", json_string(attempt->hostname));
    json_object_set_new(made, "started_at", job_entry_date(lease->leased_ms));
    json_object_set_new(made, "ended_at", job_entry_date(ended_ms));
    json_object_set_new(made, "end", end != NULL ? json_string(end) : json_null());
    if (lease->reason[0] != '\0')
        json_object_set_new(made, "reason", json_string(lease->reason));
    return made;
}

enum bw_code job_attempts_make(const struct job_attempts_sources *sources, const struct run *run,
                               uint32_t slot, const struct result *result, json_t **attempts,
                               struct bw_error *error)
{
    struct attempts found = {NULL, 0};
    enum bw_code code = job_attempts_read(sources, run, slot, &found, error);
    if (code == BW_OK) {
        uint32_t reporter = job_attempts_find_reporter(&found, result);
        *attempts = json_array();
        for (uint32_t i = 0; i < found.count; i++) {
            bool is_reporter = found.items[i].lease.attempt == reporter;
            json_array_append_new(*attempts, job_attempt_make(run, &found.items[i], result,
                                                              is_reporter, sources->date_ms));
        }
    }
    free(found.items);
    return code;
}
