#include "api/internal/health.h"

#include "api/api.h"
#include "api/grading/event_streams.h"
#include "api/grading/log_streams.h"
#include "api/grading/poll_table.h"
#include "api/http/memory_budget.h"
#include "api/http/server.h"
#include "api/metrics.h"
#include "api/options.h"
#include "api/uplink/replica_heartbeat.h"
#include "api/uplink/signals.h"
#include "api/websocket/server.h"
#include "common/base/json_write.h"

enum bw_code health_show_alive(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)api;
    (void)error;
    exchange_answer_json(exchange, json_pack("{s:s}", "status", "ok"));
    return BW_OK;
}

enum bw_code health_show_ready(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    const char *trouble = NULL;
    if (!replica_heartbeat_is_database_reachable(signals_heartbeat(api->signals)))
        trouble = "database unreachable";
    if (!atomic_load(&api->is_serving))
        trouble = "starting"; /* this port is open before the public one */
    if (atomic_load(&api->is_draining))
        trouble = "draining";
    json_t *body = json_pack("{s:s,s:s}", "status", trouble == NULL ? "ready" : trouble, "process",
                             api->process_id);
    exchange_answer(exchange, trouble == NULL ? 200 : 503, json_write(body, JSON_COMPACT), NULL);
    json_decref(body);
    return BW_OK;
}

static void health_set_connection_metrics(struct api *api)
{
    struct connection_counts counts;
    if (!atomic_load(&api->is_serving))
        return;
    http_server_count_connections(api->public_server, &counts);
    for (unsigned kind = 0; kind < CONNECTION_KINDS; kind++)
        metric_set(api->metrics, API_CONNECTIONS_UNPROVEN + kind, (int64_t)counts.by_kind[kind]);
    metric_set(api->metrics, API_CONNECTIONS_MAX, api->options->max_connections);
    metric_set(api->metrics, API_CONNECTIONS_EVICTED, (int64_t)counts.evicted);
    metric_set(api->metrics, API_CONNECTIONS_REFUSED, (int64_t)counts.refused);
    metric_set(api->metrics, API_ACCEPT_PAUSES, (int64_t)counts.pauses);
}

enum bw_code health_show_metrics(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    metric_set(api->metrics, API_PARKED_POLLS, (int64_t)poll_table_count(api->polls));
    metric_set(api->metrics, API_WEBSOCKETS, (int64_t)sockets_count(api->sockets));
    for (unsigned pool = 0; pool < MEMORY_POOLS; pool++)
        metric_set(api->metrics, API_MEMORY_FIRST + pool,
                   (int64_t)memory_budget_used(api->memory, pool));
    metric_set(api->metrics, API_EVENT_STREAMS, (int64_t)event_streams_count(api->streams));
    metric_set(api->metrics, API_LOG_STREAMS, (int64_t)log_streams_count(api->log_streams));
    health_set_connection_metrics(api);
    metric_set(api->metrics, API_DATABASE_REACHABLE,
               replica_heartbeat_is_database_reachable(signals_heartbeat(api->signals)));
    exchange_answer(exchange, 200, metrics_text(api->metrics),
                    "text/plain; version=0.0.4; charset=utf-8");
    return BW_OK;
}
