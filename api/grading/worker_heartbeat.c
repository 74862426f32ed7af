#include "api/grading/worker_heartbeat.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/grading/held_jobs.h"
#include "api/grading/worker_fault.h"
#include "api/http/exchange.h"
#include "api/metrics.h"
#include "api/uplink/signals.h"
#include "common/base/alloc.h"
#include "common/db/database.h"

static json_t *heartbeat_value(const struct held_job *jobs, size_t count)
{
    json_t *lost = json_array();
    for (size_t i = 0; i < count; i++)
        if (jobs[i].is_lost)
            json_array_append_new(lost, json_string(jobs[i].id));
    return json_pack("{s:o}", "cancelled", lost);
}

/* A heartbeat that is answered later. */
struct pending_heartbeat {
    struct api *api;
    struct worker_heartbeat heartbeat; /* its texts are not used any more */
    char worker[WORKER_ID_SIZE];
    struct held_job jobs[HELD_JOBS_MAX];
    size_t count;
};

static void heartbeat_checked(void *context, const struct held_job *jobs, size_t count)
{
    struct pending_heartbeat *pending = context;
    pending->heartbeat.answer(pending->heartbeat.exchange, heartbeat_value(jobs, count));
    free(pending);
}

/* Answers what became of the jobs that it names, if it names any. Frees it then. */
static void heartbeat_answer(struct pending_heartbeat *pending)
{
    struct api *api = pending->api;
    if (pending->count > 0 && !database_is_unavailable(api->database)) {
        held_jobs_ask(api->held_jobs, pending->worker, pending->jobs, pending->count,
                      heartbeat_checked, pending);
        return;
    }
    if (pending->heartbeat.jobs != NULL)
        pending->heartbeat.answer(pending->heartbeat.exchange, heartbeat_value(NULL, 0));
    else
        exchange_answer(pending->heartbeat.exchange, 200, NULL, NULL);
    free(pending);
}

static void heartbeat_fault_stored(enum bw_code code, const struct bw_error *error, void *context)
{
    struct pending_heartbeat *pending = context;
    if (code == BW_OK) {
        heartbeat_answer(pending);
        return;
    }
    exchange_refuse(pending->heartbeat.exchange, code, error);
    free(pending);
}

enum bw_code worker_heartbeat_take(struct api *api, const struct worker_heartbeat *heartbeat,
                                   struct bw_error *error)
{
    signals_seen(api->signals, heartbeat->worker, SEEN_HEARTBEAT);
    metric_add(api->metrics, API_HEARTBEATS, 1);
    if (heartbeat->jobs == NULL && heartbeat->fault == NULL) {
        exchange_answer(heartbeat->exchange, 200, NULL, NULL);
        return BW_OK;
    }
    struct pending_heartbeat *pending = bw_alloc(sizeof *pending);
    *pending = (struct pending_heartbeat){.api = api, .heartbeat = *heartbeat};
    snprintf(pending->worker, sizeof pending->worker, "%s", heartbeat->worker);
    enum bw_code code = BW_OK;
    if (heartbeat->jobs != NULL)
        code = held_jobs_parse(heartbeat->jobs, pending->jobs, &pending->count, error);
    if (code != BW_OK) {
        free(pending);
        return code;
    }
    if (heartbeat->fault == NULL) {
        heartbeat_answer(pending);
        return BW_PENDING;
    }
    struct worker_fault said = {.completed = heartbeat_fault_stored, .context = pending};
    snprintf(said.worker, sizeof said.worker, "%s", heartbeat->worker);
    snprintf(said.fault, sizeof said.fault, "%s", heartbeat->fault);
    worker_fault_store(api, &said);
    return BW_PENDING;
}
