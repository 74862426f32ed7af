#include "api/grading/registration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/thread_pool.h"
#include "api/grading/inflight.h"
#include "api/uplink/scheduler_queries.h"
#include "api/grading/worker_cache.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { INSERT_TRY_MS = 10000, END_WAIT_MS = 2000, END_POLL_MS = 100, URGENT_RENEWALS = 4 };

/* A registration in progress. It is owned by the thread that runs its current step: a store's, the
 * one that handles the scheduler's callback, or the thread pool's. */
struct attempt {
    struct worker_commit commit; /* first */
    struct api *api;
    struct registration registration;
    int64_t began_ms;
    int64_t former_epoch;
    bool is_urgent; /* counted in api->urgent_renewals */
};

static void registration_finish(struct attempt *attempt, enum bw_code code,
                                const struct bw_error *error)
{
    struct api *api = attempt->api;
    struct registration registration = attempt->registration;
    int64_t epoch = attempt->commit.worker.epoch;
    if (code == BW_OK)
        worker_cache_add(api->workers[registration.worker.protocol], registration.worker.id);
    free(attempt);
    registration.completed(code, epoch, error, registration.context);
    inflight_end(api);
}

static void registration_refuse(struct attempt *attempt, enum bw_code code)
{
    struct bw_error error;
    if (code == BW_CONFLICT)
        bw_fail(&error, code, "worker id '%s' already exists", attempt->registration.worker.id);
    else
        bw_fail(&error, code, "the registration could not be checked or stored: try again");
    registration_finish(attempt, code, &error);
}

/* The thread pool closes. */
static void registration_give_up(void *context)
{
    registration_refuse(context, BW_UNAVAILABLE);
}

static void registration_ask(struct attempt *attempt);

static void registration_renew(void *context);

static void registration_end_urgency(struct attempt *attempt)
{
    if (attempt->is_urgent)
        atomic_fetch_sub(&attempt->api->urgent_renewals, 1);
    attempt->is_urgent = false;
}

/* Queues the compare-and-set. A few of them at a time are urgent, since requests of ROUTE_CURRENT
 * wait on the other threads for registrations. The rest are not urgent, so that many that wait for
 * a slow database leave threads to heartbeats and results. */
static void registration_queue_renewal(void *context)
{
    struct attempt *attempt = context;
    struct thread_pool *thread_pool = attempt->api->thread_pool;
    attempt->is_urgent = true;
    if (atomic_fetch_add(&attempt->api->urgent_renewals, 1) >= URGENT_RENEWALS)
        registration_end_urgency(attempt);
    if (attempt->is_urgent)
        thread_pool_submit(thread_pool, true, registration_renew, attempt);
    else
        thread_pool_submit_or_wait(thread_pool, registration_renew, registration_give_up, attempt);
}

/* Retries the compare-and-set later, without blocking a thread. False: its time is over. */
static bool registration_renew_later(struct attempt *attempt)
{
    return clock_boot_ms() - attempt->began_ms < INSERT_TRY_MS &&
           thread_pool_submit_later(attempt->api->thread_pool, true, END_POLL_MS,
                                    registration_queue_renewal, attempt);
}

/* Raises the epoch. On the thread pool. All tries have the same nonce, by which a try whose answer
 * was lost is recognised. */
static void registration_renew(void *context)
{
    struct attempt *attempt = context;
    bool done;
    struct bw_error unused;
    attempt->commit.worker = attempt->registration.worker;
    enum bw_code code = worker_store_renew(attempt->api->worker_store, &attempt->commit.worker,
                                           attempt->former_epoch, attempt->commit.nonce, &done,
                                           &unused);
    registration_end_urgency(attempt);
    if (code != BW_OK) {
        if (!registration_renew_later(
                attempt)) /* after registration_renew_later, another thread may own the attempt */
            registration_refuse(attempt, BW_UNAVAILABLE);
        return;
    }
    if (!done)
        registration_refuse(attempt, BW_CONFLICT);
    else
        registration_finish(attempt, BW_OK, NULL);
}

/* Asks again whether a websocket at another replica has ended. On the thread pool. */
static void registration_ask_again(void *context)
{
    registration_ask(context);
}

/* Whether the id's websocket may have ended at another replica without the scheduler knowing it
 * yet. */
static bool may_have_ended(const struct attempt *attempt, const json_t *answer)
{
    const char *replica = json_string_value(json_object_get(answer, "replica"));
    return replica != NULL && replica[0] != '\0' &&
           strcmp(replica, attempt->api->replica_id) != 0 &&
           clock_boot_ms() - attempt->began_ms < END_WAIT_MS;
}

static void registration_checked(enum bw_code code, const struct query_answer *answered,
                                 void *context)
{
    const json_t *answer = answered != NULL ? answered->value : NULL;
    struct attempt *attempt = context;
    struct thread_pool *thread_pool = attempt->api->thread_pool;
    attempt->former_epoch = json_integer_value(json_object_get(answer, "epoch"));
    if (code != BW_OK || attempt->former_epoch == 0)
        registration_refuse(attempt, BW_UNAVAILABLE);
    else if (!json_is_true(json_object_get(answer, "taken")))
        registration_queue_renewal(attempt);
    else if (!may_have_ended(attempt, answer))
        registration_refuse(attempt, BW_CONFLICT);
    else if (!thread_pool_submit_later(thread_pool, true, END_POLL_MS, registration_ask_again,
                                       attempt))
        registration_refuse(attempt, BW_UNAVAILABLE);
}

static void registration_ask(struct attempt *attempt)
{
    struct query query = {.kind = QUERY_ALIVE,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = registration_checked,
                          .context = attempt};
    snprintf(query.subject, sizeof query.subject, "%s", attempt->registration.worker.id);
    scheduler_queries_ask(attempt->api->queries, &query);
}

static void registration_inserted(struct worker_commit *commit, enum commit_outcome outcome)
{
    struct attempt *attempt = (struct attempt *)commit;
    if (outcome == COMMIT_DONE)
        registration_finish(attempt, BW_OK, NULL);
    else if (outcome == COMMIT_DUPLICATE)
        registration_ask(attempt);
    else
        registration_refuse(attempt, BW_UNAVAILABLE);
}

void registration_take_texts(struct registration *registration, const json_t *arguments)
{
    struct worker *worker = &registration->worker;
    const char *tags = json_string_value(json_object_get(arguments, "tags"));
    const char *fault = json_string_value(json_object_get(arguments, "fault"));
    snprintf(worker->tags, sizeof worker->tags, "%s", tags == NULL ? "" : tags);
    snprintf(worker->fault, sizeof worker->fault, "%s", fault == NULL ? "" : fault);
}

void registration_begin(struct api *api, const struct registration *registration)
{
    struct attempt *attempt = bw_alloc(sizeof *attempt);
    struct worker *worker = &attempt->registration.worker;
    attempt->api = api;
    inflight_begin(api);
    attempt->registration = *registration;
    attempt->began_ms = clock_boot_ms();
    worker->sends_heartbeats = true; /* by requests, or by a websocket's pings */
    worker->is_alive = true;
    if (worker->is_socket) {
        snprintf(worker->replica, sizeof worker->replica, "%s", api->replica_id);
        snprintf(worker->process, sizeof worker->process, "%s", api->process_id);
    }
    attempt->commit.worker = *worker;
    attempt->commit.completed = registration_inserted;
    worker_store_insert(api->worker_store, &attempt->commit, INSERT_TRY_MS);
}
