#include "api/grading/registration.h"

#include <jansson.h>
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

enum { INSERT_TRY_MS = 10000, END_WAIT_MS = 2000, END_LOOK_MS = 100, URGENT_RENEWALS = 4 };

/* Between its steps it belongs to whoever goes on with it: a store's thread, the scheduler's
 * callback, the thread pool. */
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
        worker_cache_add(api->course_workers, registration.worker.id);
    free(attempt);
    registration.settled(code, epoch, error, registration.context);
    inflight_end(api);
}

static void registration_refuse(struct attempt *attempt, enum bw_code code)
{
    struct bw_error error;
    if (code == BW_CONFLICT)
        bw_fail(&error, code, "worker id '%s' already exists", attempt->registration.worker.id);
    else
        bw_fail(&error, code, "the registration could not be judged or stored: try again");
    registration_finish(attempt, code, &error);
}

static void registration_ask(struct attempt *attempt);

static void registration_renew(void *context);

static void registration_end_urgency(struct attempt *attempt)
{
    if (attempt->is_urgent)
        atomic_fetch_sub(&attempt->api->urgent_renewals, 1);
    attempt->is_urgent = false;
}

/* A few at a time are urgent, since requests that want the current state wait for registrations on
 * the other threads. The rest is not: many that wait for a slow database leave threads to
 * heartbeats and results. */
static void registration_queue_renewal(void *context)
{
    struct attempt *attempt = context;
    attempt->is_urgent = atomic_fetch_add(&attempt->api->urgent_renewals, 1) < URGENT_RENEWALS;
    if (!attempt->is_urgent)
        atomic_fetch_sub(&attempt->api->urgent_renewals, 1);
    if (thread_pool_submit(attempt->api->thread_pool, attempt->is_urgent, registration_renew,
                           attempt))
        return;
    registration_end_urgency(attempt);
    registration_refuse(attempt, BW_UNAVAILABLE);
}

/* While the database is away it waits, without a thread. False: there is no time for it. */
static bool renew_again(struct attempt *attempt)
{
    return clock_boot_ms() - attempt->began_ms < INSERT_TRY_MS &&
           thread_pool_submit_later(attempt->api->thread_pool, true, END_LOOK_MS,
                                    registration_queue_renewal, attempt);
}

/* On the thread pool. All tries have one nonce: so one whose answer was lost is recognised. */
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
        if (!renew_again(attempt)) /* from there on another thread may have it */
            registration_refuse(attempt, BW_UNAVAILABLE);
        return;
    }
    if (!done)
        registration_refuse(attempt, BW_CONFLICT);
    else
        registration_finish(attempt, BW_OK, NULL);
}

/* On the thread_pool: looks again whether a websocket elsewhere has ended. */
static void ask_again(void *context)
{
    registration_ask(context);
}

/* Could it be that the id's websocket has ended at another replica, which has yet to say so? */
static bool may_have_ended(const struct attempt *attempt, const json_t *answer)
{
    const char *replica = json_string_value(json_object_get(answer, "replica"));
    return replica != NULL && replica[0] != '\0' &&
           strcmp(replica, attempt->api->replica_id) != 0 &&
           clock_boot_ms() - attempt->began_ms < END_WAIT_MS;
}

static void judged(enum bw_code code, const json_t *answer, void *context)
{
    struct attempt *attempt = context;
    struct thread_pool *thread_pool = attempt->api->thread_pool;
    attempt->former_epoch = json_integer_value(json_object_get(answer, "epoch"));
    if (code != BW_OK || attempt->former_epoch == 0)
        registration_refuse(attempt, BW_UNAVAILABLE);
    else if (!json_is_true(json_object_get(answer, "taken")))
        registration_queue_renewal(attempt);
    else if (!may_have_ended(attempt, answer))
        registration_refuse(attempt, BW_CONFLICT);
    else if (!thread_pool_submit_later(thread_pool, true, END_LOOK_MS, ask_again, attempt))
        registration_refuse(attempt, BW_UNAVAILABLE);
}

static void registration_ask(struct attempt *attempt)
{
    struct query query = {.kind = QUERY_ALIVE,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = judged,
                          .context = attempt};
    snprintf(query.subject, sizeof query.subject, "%s", attempt->registration.worker.id);
    scheduler_queries_ask(attempt->api->queries, &query);
}

static void inserted(struct worker_commit *commit, enum commit_outcome outcome)
{
    struct attempt *attempt = (struct attempt *)commit;
    if (outcome == COMMIT_DONE)
        registration_finish(attempt, BW_OK, NULL);
    else if (outcome == COMMIT_DUPLICATE)
        registration_ask(attempt);
    else
        registration_refuse(attempt, BW_UNAVAILABLE);
}

void registration_begin(struct api *api, const struct registration *registration)
{
    struct attempt *attempt = bw_alloc(sizeof *attempt);
    struct worker *worker = &attempt->registration.worker;
    attempt->api = api;
    inflight_begin(api);
    attempt->registration = *registration;
    attempt->began_ms = clock_boot_ms();
    worker->protocol = PROTOCOL_COURSE;
    worker->sends_heartbeats = true; /* by requests, or a websocket's pings */
    worker->is_alive = true;
    if (worker->is_socket) {
        snprintf(worker->replica, sizeof worker->replica, "%s", api->replica_id);
        snprintf(worker->process, sizeof worker->process, "%s", api->process_id);
    }
    attempt->commit.worker = *worker;
    attempt->commit.settled = inserted;
    worker_store_insert(api->worker_store, &attempt->commit, INSERT_TRY_MS);
}
