#include "api/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/http/access_log.h"
#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/metrics.h"
#include "api/auth/auth.h"
#include "api/auth/course_config.h"
#include "api/auth/course_table.h"
#include "api/grading/audit.h"
#include "api/auth/receipt_key.h"
#include "api/grading/definition_cache.h"
#include "api/http/connection_capacity.h"
#include "api/http/thread_pool.h"
#include "api/http/server.h"
#include "api/grading/missing_graders.h"
#include "api/grading/delivery_table.h"
#include "api/grading/image_pins.h"
#include "api/uplink/replica_heartbeat.h"
#include "api/http/memory_budget.h"
#include "api/options.h"
#include "api/grading/poll_table.h"
#include "api/grading/result_refusal.h"
#include "api/grading/scheduling_settings.h"
#include "api/uplink/scheduler_queries.h"
#include "api/protocols.h"
#include "api/grading/event_streams.h"
#include "api/grading/log_chunk_removal.h"
#include "api/grading/log_streams.h"
#include "api/uplink/signals.h"
#include "api/websocket/server.h"
#include "api/grading/socket_jobs.h"
#include "api/grading/socket_inflight.h"
#include "api/grading/worker_cache.h"
#include "api/grading/held_jobs.h"
#include "api/grading/worker_lookup.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "common/base/otlp.h"
#include "common/base/port.h"
#include "common/base/secret.h"
#include "common/store/audit_store.h"
#include "common/store/history_store.h"
#include "common/store/course_store.h"
#include "common/store/definition_store.h"
#include "common/store/file_store.h"
#include "common/store/grading_config_store.h"
#include "common/store/image_pin_store.h"
#include "common/store/lease_store.h"
#include "common/store/log_chunk_store.h"
#include "common/store/log_store.h"
#include "common/store/receipt_store.h"
#include "common/store/pause_store.h"
#include "common/store/scheduling_store.h"
#include "common/store/webhook_delivery_store.h"
#include "common/store/webhook_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/setting_store.h"
#include "common/store/worker_store.h"

enum {
    /* The threads wait for the database together: the size of its batches grows with their number.
     */
    HEARTBEAT_MAX_MS = 2000,
    THREAD_POOL_THREADS = 48,
    DEFINITION_CACHE_BYTES = 256 * 1024 * 1024,
    CALLBACK_MAX_BYTES = 64 * 1024 * 1024
};

static enum bw_code check_ports(struct service *service, struct bw_error *error)
{
    const struct api_options *options = &service->options;
    if (options->port == options->internal_port &&
        strcmp(options->bind_address, options->internal_bind_address) == 0)
        return port_refuse(config_source("port"), options->bind_address, options->port, EADDRINUSE,
                           error);
    enum bw_code code = port_check(config_source("port"), options->bind_address, options->port,
                                   error);
    if (code != BW_OK)
        return code;
    return port_check(config_source("internal-port"), options->internal_bind_address,
                      options->internal_port, error);
}

/* Fits the limit of connections to the limit of open files, since every connection needs a
 * descriptor. */
static enum bw_code fit_connections(struct service *service, struct bw_error *error)
{
    struct bw_error reason;
    size_t asked = (size_t)service->options.max_connections, most = asked, database;
    enum bw_code code = database_descriptors(service->options.mongodb_uri, &database, &reason);
    if (code != BW_OK)
        return bw_fail(error, code, "%s: %s", config_source("mongodb-uri"), reason.message);
    code = connection_capacity_fit(database, &most, error);
    if (code != BW_OK)
        return code;
    if (most < asked)
        log_warning("the limit of open files allows fewer connections than configured",
                    log_text("source", config_source("max-connections")),
                    log_number("asked", (int64_t)asked), log_number("connections", (int64_t)most));
    service->options.max_connections = (int64_t)most;
    return BW_OK;
}

/* Reads --course-config. All settings are checked before anything is opened or stored. */
static enum bw_code read_courses(struct service *service, struct bw_error *error)
{
    const char *path = service->options.course_config;
    if (path == NULL)
        return BW_OK;
    enum bw_code code = course_config_read(path, service->api.known_tokens, &service->courses,
                                           error);
    service->has_courses = code == BW_OK;
    return code;
}

static void forget_courses(struct service *service)
{
    if (service->has_courses)
        course_list_clear(&service->courses);
    service->has_courses = false;
}

/* Reads the key of --receipt-key, like the courses. */
static enum bw_code start_receipts(struct service *service, struct bw_error *error)
{
    return receipt_key_open(service->options.receipt_key, &service->api.receipt_key, error);
}

static enum bw_code start_budget(struct service *service, struct bw_error *error)
{
    return memory_budget_open(&service->api.memory, error);
}

static void stop_budget(struct service *service)
{
    memory_budget_close(service->api.memory);
}

static enum bw_code start_sockets(struct service *service, struct bw_error *error)
{
    service->api.socket_inflight = socket_inflight_new();
    service->api.socket_jobs = socket_jobs_new();
    enum bw_code code = BW_OK;
    for (unsigned i = 0; i < PROTOCOLS && code == BW_OK; i++)
        if (protocols[i]->open_sockets != NULL)
            code = protocols[i]->open_sockets(&service->api, error);
    return code;
}

static void stop_sockets(struct service *service)
{
    sockets_close(service->api.sockets);
}

static enum bw_code start_database(struct service *service, struct bw_error *error)
{
    struct bw_error reason;
    const struct database_metrics counted = {.metrics = service->api.metrics,
                                             .seconds_row = API_DATABASE_SECONDS_FIND,
                                             .failed_row = API_DATABASE_FAILED_FIND};
    enum bw_code code = database_open(service->options.mongodb_uri,
                                      service->options.mongodb_database, "broadway-api", &counted,
                                      &service->api.database, &reason);
    return code == BW_OK
               ? BW_OK
               : bw_fail(error, code, "%s: %s", config_source("mongodb-uri"), reason.message);
}

static enum bw_code start_otlp(struct service *service, struct bw_error *error)
{
    const struct otlp_settings settings = {.endpoint = service->options.otlp_endpoint,
                                           .service = "broadway-api",
                                           .instance = service->api.process_id,
                                           .metrics = service->api.metrics,
                                           .sent_row = API_SPANS_SENT,
                                           .dropped_row = API_SPANS_DROPPED};
    return settings.endpoint == NULL ? BW_OK : otlp_open(&settings, &service->api.otlp, error);
}

static void stop_otlp(struct service *service)
{
    otlp_close(service->api.otlp);
}

static void stop_database(struct service *service)
{
    database_close(service->api.database);
}

/* Closes the stores that write by group commit. Each completes its submitted items. The log store
 * submits to the result store, so it is closed first. */
static void stop_writers(struct service *service)
{
    struct api *api = &service->api;
    log_store_close(api->log_store);
    result_store_close(api->result_store);
    worker_store_close(api->worker_store);
    definition_store_close(api->definition_store);
    file_store_close(api->file_store);
    run_store_close(api->run_store);
    audit_store_close(api->audit_store);
    history_store_close(api->history_store);
}

static void stop_other_stores(struct service *service)
{
    struct api *api = &service->api;
    log_chunk_store_close(api->log_chunk_store);
    lease_store_close(api->lease_store);
    signal_store_close(api->signal_store);
    replica_store_close(api->replica_store);
    setting_store_close(api->setting_store);
    receipt_store_close(api->receipt_store);
    image_pin_store_close(api->image_pin_store);
    course_store_close(api->course_store);
    grading_config_store_close(api->grading_config_store);
    pause_store_close(api->pause_store);
    scheduling_store_close(api->scheduling_store);
    webhook_store_close(api->webhook_store);
    webhook_delivery_store_close(api->webhook_delivery_store);
}

static enum bw_code start_stores(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    enum bw_code code = setting_store_open(api->database, &api->setting_store, error);
    if (code == BW_OK)
        code = receipt_store_open(api->database, &api->receipt_store, error);
    if (code == BW_OK)
        code = image_pin_store_open(api->database, &api->image_pin_store, error);
    if (code == BW_OK)
        code = course_store_open(api->database, &api->course_store, error);
    if (code == BW_OK)
        code = grading_config_store_open(api->database, &api->grading_config_store, error);
    if (code == BW_OK)
        code = pause_store_open(api->database, &api->pause_store, error);
    if (code == BW_OK)
        code = scheduling_store_open(api->database, &api->scheduling_store, error);
    if (code == BW_OK)
        code = webhook_store_open(api->database, &api->webhook_store, error);
    if (code == BW_OK)
        code = webhook_delivery_store_open(api->database, &api->webhook_delivery_store, error);
    if (code == BW_OK)
        code = definition_store_open(api->database, &api->definition_store, error);
    if (code == BW_OK)
        code = file_store_open(api->database, &api->file_store, error);
    if (code == BW_OK)
        code = run_store_open(api->database, &api->run_store, error);
    if (code == BW_OK)
        code = audit_store_open(api->database, &api->audit_store, error);
    if (code == BW_OK)
        code = history_store_open(api->database, &api->history_store, error);
    if (code == BW_OK)
        code = replica_store_open(api->database, &api->replica_store, error);
    if (code == BW_OK)
        code = signal_store_open(api->database, &api->signal_store, error);
    if (code == BW_OK)
        code = worker_store_open(api->database, &api->worker_store, error);
    if (code == BW_OK)
        code = lease_store_open(api->database, (struct fence){NULL}, &api->lease_store, error);
    if (code == BW_OK)
        code = log_store_open(api->database, (size_t)service->options.max_log_bytes,
                              &api->log_store, error);
    if (code == BW_OK)
        code = log_chunk_store_open(api->database, (size_t)service->options.max_log_bytes,
                                    &api->log_chunk_store, error);
    if (code == BW_OK)
        code = result_store_open(api->database, (struct fence){NULL}, &api->result_store, error);
    return code;
}

static enum bw_code start_auth(struct service *service, struct bw_error *error)
{
    return auth_open(&service->api, &service->api.auth, error);
}

static void stop_auth(struct service *service)
{
    auth_close(service->api.auth);
    receipt_key_close(service->api.receipt_key);
}

static enum bw_code start_courses(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    return course_table_open(api->course_store, api->scheduling_store, api->known_tokens,
                             &api->courses, error);
}

static void stop_courses(struct service *service)
{
    course_table_close(service->api.courses);
}

static enum bw_code start_thread_pool(struct service *service, struct bw_error *error)
{
    return thread_pool_open(THREAD_POOL_THREADS, &service->api.thread_pool, error);
}

static void stop_thread_pool(struct service *service)
{
    thread_pool_close(service->api.thread_pool);
}

static enum bw_code start_memory(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    (void)error;
    api->definitions = definition_cache_new(api->run_store, api->definition_store,
                                            DEFINITION_CACHE_BYTES);
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        api->workers[i] = worker_cache_new(&(struct worker_cache_settings){
            .store = api->worker_store, .protocol = (enum protocol)i});
        api->worker_lookups[i] = worker_lookup_new(
            &(struct worker_lookup_settings){.thread_pool = &api->thread_pool,
                                             .store = api->worker_store,
                                             .cache = api->workers[i],
                                             .protocol = (enum protocol)i});
    }
    api->hand_outs = delivery_table_new();
    api->image_pins = image_pins_new(&(struct image_pins_stores){
        .pins = api->image_pin_store, .runs = api->run_store, .workers = api->worker_store});
    api->held_jobs = held_jobs_new(&(struct held_jobs_settings){.thread_pool = &api->thread_pool,
                                                                .leases = api->lease_store,
                                                                .results = api->result_store});
    api->graders = missing_graders_new(api->database);
    api->answer_streams = answer_streams_new(&api->thread_pool);
    return BW_OK;
}

static void stop_memory(struct service *service)
{
    missing_graders_free(service->api.graders);
    answer_streams_free(service->api.answer_streams);
    held_jobs_free(service->api.held_jobs);
    delivery_table_free(service->api.hand_outs);
    image_pins_free(service->api.image_pins);
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        worker_lookup_free(service->api.worker_lookups[i]);
        worker_cache_free(service->api.workers[i]);
    }
    definition_cache_free(service->api.definitions);
    socket_inflight_free(service->api.socket_inflight);
    socket_jobs_free(service->api.socket_jobs);
}

static struct replica make_replica(const struct api *api)
{
    struct replica replica = {.last_seen_ms = 0};
    snprintf(replica.id, sizeof replica.id, "%s", api->replica_id);
    snprintf(replica.url, sizeof replica.url, "%s", api->options->internal_url);
    snprintf(replica.process, sizeof replica.process, "%s", api->process_id);
    return replica;
}

/* Half a heartbeat interval, 2 s at most. */
static int64_t heartbeat_every_ms(const struct api_options *options)
{
    int64_t half_ms = options->heartbeat_interval_ms / 2;
    return half_ms < HEARTBEAT_MAX_MS ? half_ms : HEARTBEAT_MAX_MS;
}

static enum bw_code start_heartbeat(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    struct replica replica = make_replica(api);
    return replica_heartbeat_open(api->database, api->replica_store, &replica,
                                  heartbeat_every_ms(api->options), &service->heartbeat, error);
}

static void stop_heartbeat(struct service *service)
{
    replica_heartbeat_close(service->heartbeat);
}

/* The parts of this replica's state that signals report. */
static void service_snapshot(void *context, bool with_polls, struct poll_snapshot *snapshot,
                             void (*at)(void *at_context), void *at_context)
{
    const struct api *api = context;
    poll_table_snapshot(api->polls, with_polls, snapshot, at, at_context);
}

static struct signal_delivery *service_list_deliveries(void *context, size_t limit, size_t *count)
{
    const struct api *api = context;
    return delivery_table_list(api->hand_outs, limit, count);
}

static struct signal_watch *service_list_watches(void *context, size_t *count)
{
    const struct api *api = context;
    return event_streams_list(api->streams, count);
}

static enum bw_code start_polls(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    api->signals = signals_new(
        &(struct signals_settings){.store = api->signal_store,
                                   .replica = make_replica(api),
                                   .heartbeat_every_ms = heartbeat_every_ms(api->options),
                                   .heartbeat = service->heartbeat,
                                   .snapshot = service_snapshot,
                                   .list_deliveries = service_list_deliveries,
                                   .list_watches = service_list_watches,
                                   .context = api});
    return poll_table_open(&(struct poll_table_settings){.signals = api->signals}, &api->polls,
                           error);
}

static void stop_polls(struct service *service)
{
    poll_table_close(service->api.polls);
    signals_free(service->api.signals);
}

static enum bw_code start_streams(struct service *service, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (unsigned i = 0; i < PROTOCOLS && code == BW_OK; i++)
        if (protocols[i]->open_streams != NULL)
            code = protocols[i]->open_streams(&service->api, error);
    if (code == BW_OK)
        code = log_streams_open(&service->api, &service->api.log_streams, error);
    if (code == BW_OK)
        code = log_chunk_removal_open(service->api.log_chunk_store, service->api.result_store,
                                      &service->api.log_removal, error);
    return code;
}

static void stop_streams(struct service *service)
{
    event_streams_close(service->api.streams);
    log_streams_close(service->api.log_streams);
    log_chunk_removal_close(service->api.log_removal);
}

static enum bw_code start_queries(struct service *service, struct bw_error *error)
{
    return scheduler_queries_open(service->api.signals, &service->api.queries, error);
}

static void stop_queries(struct service *service)
{
    scheduler_queries_close(service->api.queries);
}

static enum bw_code start_signals(struct service *service, struct bw_error *error)
{
    return signals_start(service->api.signals, error);
}

static void stop_signals_thread(struct service *service)
{
    signals_stop(service->api.signals);
}

static void service_note_finished(const struct request *request, int status, void *context)
{
    const struct api *api = context;
    access_log_write(api->metrics, request, status);
}

/* Another process, or this process's other HTTP server, may have taken a port since it was
 * checked. */
static enum bw_code open_server(const struct http_server_settings *settings, const char *option,
                                struct server **server, struct bw_error *error)
{
    struct bw_error reason;
    enum bw_code code = http_server_open(settings, server, &reason);
    if (code == BW_BAD_REQUEST)
        return bw_fail(error, code, "%s %s", config_source(option), reason.message);
    return code == BW_OK ? BW_OK : bw_fail(error, code, "%s", reason.message);
}

static void service_note_seen(struct api *api, const char *worker, bool is_result)
{
    signals_seen(api->signals, worker, is_result ? SEEN_RESULT : SEEN_HEARTBEAT);
}

static const struct http_hooks service_hooks = {.seen = service_note_seen,
                                                .record = audit_record,
                                                .refuse_result = result_refuse,
                                                .is_result_beyond = result_refusal_is_beyond,
                                                .reads_result = result_refusal_reads,
                                                .seek_result = result_refusal_seek};

static enum bw_code start_internal_server(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    struct http_server_settings settings = {
        .api = api,
        .protocols = internal_protocols,
        .forms = protocols,
        .address = api->options->internal_bind_address,
        .port = (uint16_t)api->options->internal_port,
        .max_body_bytes = CALLBACK_MAX_BYTES,
        .max_connections = CONNECTION_CAPACITY_INTERNAL,
        .refuses_names = address_is_loopback(api->options->internal_bind_address),
        .name = "internal",
        .finished = service_note_finished,
        .context = api};
    return open_server(&settings, "internal-port", &api->internal_server, error);
}

static enum bw_code start_public_server(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    struct http_server_settings settings = {
        .api = api,
        .protocols = protocols,
        .hooks = &service_hooks,
        .cors_origin = api->options->cors_origin,
        .address = api->options->bind_address,
        .port = (uint16_t)api->options->port,
        .max_body_bytes = (size_t)api->options->max_body_bytes,
        .max_file_bytes = (uint64_t)api->options->max_file_bytes,
        .memory = api->memory,
        .max_connections = (unsigned)api->options->max_connections,
        .max_connections_per_address = (unsigned)api->options->max_connections_per_address,
        .name = "public",
        .request_timeout_ms = api->options->request_timeout_ms,
        .finished = service_note_finished,
        .context = api};
    return open_server(&settings, "port", &api->public_server, error);
}

typedef enum bw_code start_function(struct service *service, struct bw_error *error);
typedef void stop_function(struct service *service);

/* Each part uses only the parts above it. */
static start_function *const starts[] = {
    fit_connections, check_ports,   read_courses,      start_receipts,        start_budget,
    start_sockets,   start_otlp,    start_database,    start_stores,          start_auth,
    start_courses,   start_memory,  start_heartbeat,   start_polls,           start_queries,
    start_streams,   start_signals, start_thread_pool, start_internal_server, start_public_server,
};

/* The order of the shutdown, after the HTTP servers. First the threads that call other parts, each
 * with its pending work: tasks, writes, the websockets' loop, unanswered queries, signals. A table
 * is freed only when no thread can use it any more. Each function can be called for a part that was
 * never started. */
static stop_function *const stops[] = {
    stop_thread_pool,    stop_writers,  stop_sockets, stop_queries,
    stop_signals_thread, stop_streams,  stop_polls,   stop_heartbeat,
    stop_courses,        stop_auth,     stop_memory,  stop_other_stores,
    stop_otlp,           stop_database, stop_budget,  forget_courses,
};

enum bw_code service_start(struct service *service, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (size_t i = 0; code == BW_OK && i < sizeof starts / sizeof *starts; i++)
        code = starts[i](service, error);
    if (code != BW_OK && !service_stop(service)) {
        log_error("start failed", log_text("reason", error->message));
        _exit(EXIT_FAILURE);
    }
    return code;
}

enum bw_code service_load(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    enum bw_code code = database_check(api->database, error);
    if (code != BW_OK)
        return code;
    if (!replica_heartbeat_is_database_reachable(service->heartbeat))
        return bw_fail(error, BW_UNAVAILABLE, "the database can't be reached");
    code = course_table_store(api->courses, service->has_courses ? &service->courses : NULL, error);
    if (code == BW_OK)
        code = receipt_key_learn(api->receipt_key, api->setting_store, error);
    if (code == BW_OK)
        code = auth_learn(api->auth, error);
    if (code == BW_OK && service->has_courses)
        scheduling_settings_notify(api);
    if (code == BW_OK)
        forget_courses(service);
    return code;
}

bool service_stop(struct service *service)
{
    /* Metrics are read without the server from now on. */
    atomic_store(&service->api.is_serving, false);
    /* No connection may wait for the next part of a long answer. */
    answer_streams_end(service->api.answer_streams);
    if (!http_server_close(service->api.public_server) ||
        !http_server_close(service->api.internal_server))
        return false;
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        stops[i](service);
    return true;
}
