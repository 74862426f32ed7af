/*
 * broadway-api: serves the REST API and takes the scheduler's callbacks, until it is asked to
 * leave.
 *
 * It starts and stops by the tables of service.c. Both ports are open before the database is
 * reached: until then it is not ready, and refuses what it can't judge. At SIGTERM: not ready any
 * more, parked polls are answered empty, websockets are closed, the scheduler is told, and what is
 * under way gets
 * --grace to be settled. The internal port stays open meanwhile. Who is in a hurry sends the signal
 * twice.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/metrics.h"
#include "api/auth/course_table.h"
#include "api/grading/event_streams.h"
#include "api/http/server.h"
#include "api/grading/inflight.h"
#include "api/auth/known_tokens.h"
#include "api/grading/poll_table.h"
#include "common/base/request_id.h"
#include "api/service.h"
#include "api/uplink/signals.h"
#include "api/websocket/server.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/db/database.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/stop_signal.h"
#include "version.h"

enum {
    EXIT_USAGE = 2,
    DATABASE_LOOK_MS = 50,
    TELL_AFTER_MS = 500,
    EXPLAIN_AFTER_MS = 4000,
    DRAIN_LOOK_MS = 20,
    DRAIN_QUIET_MS = 250,        /* for what has reached our sockets and was not read yet */
    LONGEST_POLL_WAIT_MS = 19000 /* classic graders give up at 20 s */
};

/* Learns what the database has to say. Meanwhile both ports are open. BW_PENDING: asked to leave.
 */
static enum bw_code wait_until_settled(struct service *service, struct bw_error *error)
{
    int64_t begun_ms = clock_boot_ms();
    bool is_told = false, is_explained = false;
    for (;;) {
        enum bw_code code = service_settle(service, error);
        int64_t waited_ms = clock_boot_ms() - begun_ms;
        if (code != BW_UNAVAILABLE)
            return code;
        if (!is_told && waited_ms >= TELL_AFTER_MS) {
            log_warning("waiting for the database", log_text("reason", error->message));
            is_told = true;
        }
        if (!is_explained && waited_ms >= EXPLAIN_AFTER_MS) {
            database_explain(service->api.database);
            is_explained = true;
        }
        if (stop_signal_wait(DATABASE_LOOK_MS) != 0)
            return BW_PENDING;
    }
}

/* Waits until it is time to leave. SIGHUP asks for something else. */
static int wait_for_end(struct api *api)
{
    for (;;) {
        int signal_number = stop_signal_wait_or_reread();
        if (signal_number != SIGHUP)
            return signal_number;
        course_table_reread(api->courses, api->options->course_config);
    }
}

/* ---- Leaving ---- */

/* What a request, a websocket or a message has begun at the public port. */
static size_t count_public(struct api *api)
{
    return http_server_in_flight(api->public_server) + http_server_upgraded(api->public_server) +
           inflight_count(api);
}

static size_t count_all(struct api *api)
{
    return count_public(api) + http_server_in_flight(api->internal_server);
}

/* True once nothing has been under way for a moment; false when the time is over. */
static bool is_quiet_by(struct api *api, size_t (*count)(struct api *api), int64_t end_ms)
{
    int64_t now_ms = clock_boot_ms(), busy_ms = now_ms;
    for (;;) {
        now_ms = clock_boot_ms();
        if (count(api) > 0)
            busy_ms = now_ms;
        if (now_ms - busy_ms >= DRAIN_QUIET_MS)
            return true;
        if (now_ms >= end_ms && busy_ms == now_ms)
            return false;
        int signal_number = stop_signal_wait(DRAIN_LOOK_MS);
        if (signal_number != 0)
            _exit(128 + signal_number);
    }
}

/* Nothing new is begun: whoever waits for work is told that there is none. The scheduler's port
 * stays open, since its answers end what waits for them. */
static void refuse_new_work(struct api *api)
{
    atomic_store(&api->is_draining, true);
    http_server_stop_accepting(api->public_server);
    event_streams_drain(api->streams);
    sockets_shut(api->sockets);
    poll_table_drain(api->polls);
    signals_leave(api->signals);
}

/* 1. No new work. 2. What is under way is settled, within the grace. 3. The parts are stopped
 * (service.c). What could not be settled uses what would be freed, and nothing durable lives in a
 * process: so then it ends as it stands. */
static void api_main_leave(struct service *service, int status)
{
    struct api *api = &service->api;
    int64_t end_ms = clock_boot_ms() + service->options.grace_ms;
    refuse_new_work(api);
    bool is_quiet = !MUTANT("leaves_unsettled") && is_quiet_by(api, count_public, end_ms);
    if (is_quiet) {
        http_server_stop_accepting(api->internal_server);
        is_quiet = is_quiet_by(api, count_all, end_ms);
    }
    if (!is_quiet) {
        log_warning("the grace is over, work is left unfinished",
                    log_number("requests", (int64_t)http_server_in_flight(api->public_server)),
                    log_number("websockets", (int64_t)http_server_upgraded(api->public_server)),
                    log_number("callbacks", (int64_t)http_server_in_flight(api->internal_server)),
                    log_number("other", (int64_t)inflight_count(api)));
        _exit(status);
    }
    if (!service_stop(service))
        _exit(status);
    log_event(LOG_LEVEL_INFO, "stopped");
}

/* ---- The process ---- */

static void api_main_prepare(struct service *service)
{
    const struct api_options *options = &service->options;
    struct api *api = &service->api;
    stop_signal_block();
    database_library_open();
    log_open("broadway-api", (enum log_level)options->log_level,
             (enum log_format)options->log_format);
    config_warn_unknown();
    api->options = options;
    api->metrics = api_metrics_new();
    api->known_tokens = known_tokens_new();
    snprintf(api->replica_id, sizeof api->replica_id, "%s", options->internal_url);
    secret_random_hex(api->process_id, sizeof api->process_id);
    request_id_open(api->process_id);
    if (options->poll_wait_ms > LONGEST_POLL_WAIT_MS)
        log_warning("--poll-wait is above 19 s: graders of 2018 give up after 20 s",
                    log_number("poll_wait_ms", options->poll_wait_ms));
}

static void log_started(const struct service *service)
{
    const struct api_options *options = &service->options;
    log_info("started", log_text("version", BROADWAY_VERSION),
             log_text("revision", BROADWAY_REVISION), log_text("address", options->bind_address),
             log_number("port", options->port), log_text("internal_url", options->internal_url),
             log_text("process", service->api.process_id));
}

static void api_main_finish(struct service *service)
{
    metrics_free(service->api.metrics);
    known_tokens_free(service->api.known_tokens);
    database_library_close();
    log_close();
}

/* Serves until it is time to leave. The process's exit status. */
static int api_main_serve(struct service *service)
{
    struct bw_error error;
    int status = EXIT_SUCCESS;
    enum bw_code code = wait_until_settled(service, &error);
    if (code == BW_OK) {
        atomic_store(&service->api.is_serving, true);
        log_started(service);
        log_info("leaving", log_number("signal", wait_for_end(&service->api)));
    } else if (code != BW_PENDING) {
        fprintf(stderr, "broadway-api: %s\n", error.message);
        status = EXIT_FAILURE;
    }
    api_main_leave(service, status);
    return status;
}

int main(int count, char **arguments)
{
    static struct service service;
    struct bw_error error;
    if (api_options_read(&service.options, count, arguments, &error) != BW_OK) {
        fprintf(stderr, "broadway-api: %s\n", error.message);
        return EXIT_USAGE;
    }
    api_main_prepare(&service);
    int status;
    enum bw_code code = service_start(&service, &error);
    if (code == BW_OK) {
        status = api_main_serve(&service);
    } else {
        fprintf(stderr, "broadway-api: %s\n", error.message);
        status = code == BW_BAD_REQUEST ? EXIT_USAGE : EXIT_FAILURE;
    }
    api_main_finish(&service);
    return status;
}
