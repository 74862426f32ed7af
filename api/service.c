#include "api/service.h"

#include <stdio.h>
#include <string.h>

#include "api/access.h"
#include "api/api.h"
#include "api/api_metrics.h"
#include "api/auth.h"
#include "api/course_table.h"
#include "api/definition_cache.h"
#include "api/executor.h"
#include "api/front.h"
#include "api/hand_out_table.h"
#include "api/life.h"
#include "api/options.h"
#include "api/poll_table.h"
#include "api/questions.h"
#include "api/route.h"
#include "api/course_socket.h"
#include "api/course_stream.h"
#include "api/event_streams.h"
#include "api/signals.h"
#include "api/sockets.h"
#include "api/under_way.h"
#include "api/worker_cache.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/port.h"
#include "common/secret.h"
#include "common/stop_signal.h"
#include "common/store/course_store.h"
#include "common/store/definition_store.h"
#include "common/store/grading_config_store.h"
#include "common/store/lease_store.h"
#include "common/store/log_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/setting_store.h"
#include "common/store/worker_store.h"

enum {
    DATABASE_PAUSE_MS = 500,
    LONGEST_LIFE_MS = 2000,
    EXECUTOR_THREADS =
        48, /* they wait for the database together: its batches are as large as they are many */
    DEFINITION_CACHE_BYTES = 256 * 1024 * 1024,
    CALLBACK_MAX_BYTES = 64 * 1024 * 1024
};

static enum bw_code check_ports(struct service *service, struct bw_error *error)
{
    const struct api_options *options = &service->options;
    enum bw_code code = port_check("--port", options->bind_address, options->port, error);
    if (code != BW_OK)
        return code;
    return port_check("--internal-port", options->internal_bind_address, options->internal_port,
                      error);
}

/* First, and last to go: what the others settle late is told to them. */
static enum bw_code start_sockets(struct service *service, struct bw_error *error)
{
    service->api.under_way = under_way_new();
    return course_socket_open(&service->api, error);
}

static void stop_sockets(struct service *service)
{
    sockets_close(service->api.sockets);
    under_way_free(service->api.under_way);
}

static enum bw_code start_database(struct service *service, struct bw_error *error)
{
    struct bw_error reason;
    enum bw_code code = database_open(service->options.mongodb_uri,
                                      service->options.mongodb_database, "broadway-api",
                                      &service->api.database, &reason);
    return code == BW_OK ? BW_OK : bw_fail(error, code, "--mongodb-uri: %s", reason.message);
}

static void stop_database(struct service *service)
{
    database_close(service->api.database);
}

static void stop_stores(struct service *service)
{
    struct api *api = &service->api;
    result_store_close(api->result_store);
    log_store_close(api->log_store);
    lease_store_close(api->lease_store);
    worker_store_close(api->worker_store);
    signal_store_close(api->signal_store);
    replica_store_close(api->replica_store);
    run_store_close(api->run_store);
    definition_store_close(api->definition_store);
    setting_store_close(api->setting_store);
    course_store_close(api->course_store);
    grading_config_store_close(api->grading_config_store);
}

static enum bw_code start_stores(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    enum bw_code code = setting_store_open(api->database, &api->setting_store, error);
    if (code == BW_OK)
        code = course_store_open(api->database, &api->course_store, error);
    if (code == BW_OK)
        code = grading_config_store_open(api->database, &api->grading_config_store, error);
    if (code == BW_OK)
        code = definition_store_open(api->database, &api->definition_store, error);
    if (code == BW_OK)
        code = run_store_open(api->database, &api->run_store, error);
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
        code = result_store_open(api->database, (struct fence){NULL}, &api->result_store, error);
    if (code != BW_OK)
        stop_stores(service);
    return code;
}

/* Tokens that are not given are in the database: then it is waited for. BW_PENDING: asked to leave
 * meanwhile. */
static enum bw_code start_auth(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    enum bw_code code = auth_open(api, &api->auth, error);
    if (code == BW_UNAVAILABLE)
        log_warning("waiting for the database", log_text("reason", error->message));
    while (code == BW_UNAVAILABLE) {
        if (stop_signal_wait(DATABASE_PAUSE_MS) != 0)
            return BW_PENDING;
        code = auth_open(api, &api->auth, error);
    }
    return code;
}

static void stop_auth(struct service *service)
{
    auth_close(service->api.auth);
}

static enum bw_code start_courses(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    enum bw_code code = course_table_open(api->course_store, api->known_tokens, &api->courses,
                                          error);
    if (code == BW_OK)
        code = course_table_settle(api->courses, api->options->course_config, error);
    while (code == BW_UNAVAILABLE && stop_signal_wait(DATABASE_PAUSE_MS) == 0)
        code = course_table_settle(api->courses, api->options->course_config, error);
    if (code != BW_OK)
        course_table_close(api->courses);
    return code == BW_UNAVAILABLE ? BW_PENDING : code;
}

static void stop_courses(struct service *service)
{
    course_table_close(service->api.courses);
}

static enum bw_code start_executor(struct service *service, struct bw_error *error)
{
    return executor_open(EXECUTOR_THREADS, &service->api.executor, error);
}

static void stop_executor(struct service *service)
{
    executor_close(service->api.executor);
}

static enum bw_code start_memory(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    (void)error;
    api->definitions = definition_cache_new(api->run_store, api->definition_store,
                                            DEFINITION_CACHE_BYTES);
    api->workers = worker_cache_new(&(struct worker_cache_settings){.store = api->worker_store});
    api->course_workers = worker_cache_new(
        &(struct worker_cache_settings){.store = api->worker_store, .protocol = PROTOCOL_COURSE});
    api->hand_outs = hand_out_table_new();
    return BW_OK;
}

static void stop_memory(struct service *service)
{
    hand_out_table_free(service->api.hand_outs);
    worker_cache_free(service->api.workers);
    worker_cache_free(service->api.course_workers);
    definition_cache_free(service->api.definitions);
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
static int64_t life_every_ms(const struct api_options *options)
{
    int64_t half_ms = options->heartbeat_interval_ms / 2;
    return half_ms < LONGEST_LIFE_MS ? half_ms : LONGEST_LIFE_MS;
}

static enum bw_code start_life(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    struct replica replica = make_replica(api);
    return life_open(api->database, api->replica_store, &replica, life_every_ms(api->options),
                     &service->life, error);
}

static void stop_life(struct service *service)
{
    life_close(service->life);
}

static struct signal_watch *list_watches(void *context, size_t *count)
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
                                   .life_every_ms = life_every_ms(api->options),
                                   .life = service->life,
                                   .list_watches = list_watches,
                                   .context = api});
    enum bw_code code = poll_table_open(&(struct poll_table_settings){.signals = api->signals},
                                        &api->polls, error);
    if (code == BW_OK)
        return BW_OK;
    signals_free(api->signals);
    return code;
}

static void stop_polls(struct service *service)
{
    poll_table_close(service->api.polls);
    signals_free(service->api.signals);
}

static enum bw_code start_streams(struct service *service, struct bw_error *error)
{
    return course_stream_open(&service->api, error);
}

static void stop_streams(struct service *service)
{
    event_streams_close(service->api.streams);
}

static enum bw_code start_questions(struct service *service, struct bw_error *error)
{
    return questions_open(service->api.signals, &service->api.questions, error);
}

static void stop_questions(struct service *service)
{
    questions_close(service->api.questions);
    service->api.questions = NULL;
}

static enum bw_code start_signals(struct service *service, struct bw_error *error)
{
    return signals_start(service->api.signals, service->api.polls, service->api.hand_outs, error);
}

static void stop_signals_thread(struct service *service)
{
    signals_stop(service->api.signals);
}

static void note_finished(const struct request *request, int status, void *context)
{
    const struct api *api = context;
    access_note(api->metrics, request, status);
}

static enum bw_code start_internal_front(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    struct front_settings settings = {.api = api,
                                      .routes = internal_routes,
                                      .address = api->options->internal_bind_address,
                                      .port = (uint16_t)api->options->internal_port,
                                      .max_body_bytes = CALLBACK_MAX_BYTES,
                                      .finished = note_finished,
                                      .context = api};
    return front_open(&settings, &api->internal_front, error);
}

static void stop_internal_front(struct service *service)
{
    front_close(service->api.internal_front);
}

static enum bw_code start_public_front(struct service *service, struct bw_error *error)
{
    struct api *api = &service->api;
    struct front_settings settings = {.api = api,
                                      .routes = public_routes,
                                      .course_routes = course_routes,
                                      .sockets = api->sockets,
                                      .cors_origin = api->options->cors_origin,
                                      .address = api->options->bind_address,
                                      .port = (uint16_t)api->options->port,
                                      .max_body_bytes = (size_t)api->options->max_body_bytes,
                                      .max_connections = (unsigned)api->options->max_connections,
                                      .request_timeout_ms = api->options->request_timeout_ms,
                                      .finished = note_finished,
                                      .context = api};
    return front_open(&settings, &api->public_front, error);
}

static void stop_public_front(struct service *service)
{
    front_close(service->api.public_front);
}

/* From the top at the start, from the bottom at the end: what is below uses what is above, and the
 * executor's tasks and the stores' commits are settled before what they touch goes. */
static const struct step {
    enum bw_code (*start)(struct service *service, struct bw_error *error);
    void (*stop)(struct service *service);
} steps[] = {
    {check_ports, NULL},
    {start_sockets, stop_sockets},
    {start_database, stop_database},
    {start_stores, stop_stores},
    {start_auth, stop_auth},
    {start_courses, stop_courses},
    {start_memory, stop_memory},
    {start_life, stop_life},
    {start_polls, stop_polls},
    {start_questions, stop_questions},
    {start_streams, stop_streams},
    {start_signals, stop_signals_thread},
    {start_executor, stop_executor},
    {start_internal_front, stop_internal_front},
    {start_public_front, stop_public_front},
};

enum { STEPS = sizeof steps / sizeof *steps };

static void stop_started(struct service *service, int started)
{
    while (started-- > 0)
        if (steps[started].stop != NULL)
            steps[started].stop(service);
}

enum bw_code service_start(struct service *service, struct bw_error *error)
{
    for (int i = 0; i < STEPS; i++) {
        enum bw_code code = steps[i].start(service, error);
        if (code != BW_OK) {
            stop_started(service, i);
            return code;
        }
    }
    return BW_OK;
}

void service_stop(struct service *service)
{
    stop_started(service, STEPS);
}
