/*
 * broadway-api: serves the REST API and the scheduler's callbacks until its shutdown.
 *
 * The tables of service.c define how it starts and stops. Both ports are open before the database
 * is reached; until then the process is not ready, and refuses requests that it can't authorize.
 * After SIGTERM it is no longer ready, answers parked polls empty, closes websockets, notifies the
 * scheduler, and completes operations in flight within --grace. The internal port stays open during
 * that time. A second signal, or the end of the grace period, ends the process at once, even if its
 * threads are blocked.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/metrics.h"
#include "api/auth/course_table.h"
#include "api/grading/event_streams.h"
#include "api/grading/log_streams.h"
#include "api/http/server.h"
#include "api/grading/inflight.h"
#include "api/auth/known_tokens.h"
#include "api/grading/poll_table.h"
#include "api/grading/scheduling_settings.h"
#include "api/openapi/openapi_document.h"
#include "api/openapi/pages.h"
#include "common/base/request_id.h"
#include "api/service.h"
#include "api/uplink/signals.h"
#include "api/websocket/server.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/db/database.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/stop_signal.h"
#include "version.h"

enum {
    EXIT_USAGE = 2,
    DATABASE_PROBE_MS = 50,
    REPORT_AFTER_MS = 500,
    EXPLAIN_EVERY_MS = 4000,
    DRAIN_POLL_MS = 20,
    DRAIN_QUIET_MS = 250, /* time for data that has reached the sockets and was not read yet */
    LONGEST_POLL_WAIT_MS = 19000 /* classic graders abandon a poll after 20 s */
};

/* The process: its parts, and the pipe by which signals reach the main thread. */
struct api_process {
    struct service service;
    int signals[2]; /* the pipe's ends; a byte for each signal */
    pthread_mutex_t lock;
    bool is_draining; /* guarded by lock; true while the parts can report operations in flight */
    bool must_reread; /* SIGHUP was received and not handled yet; main thread */
    int stop_signal;  /* SIGTERM or SIGINT was received; main thread */
};

/* ---- Signals ---- */

static void api_main_take_signal(int signal_number, void *context)
{
    const struct api_process *process = context;
    char byte = (char)signal_number;
    if (write(process->signals[1], &byte, 1) != 1)
        log_warning("signal lost", log_number("signal", signal_number));
}

/* Waits for a signal, at most `wait_ms`, or forever if that is negative. Returns the signal's
 * number, or 0 if none was received. */
static int api_main_wait_for_signal(const struct api_process *process, int wait_ms)
{
    struct pollfd pipe_end = {.fd = process->signals[0], .events = POLLIN};
    char byte;
    if (poll(&pipe_end, 1, wait_ms) <= 0 || read(process->signals[0], &byte, 1) != 1)
        return 0;
    return byte;
}

/* The same, and records all received signals; several SIGHUPs count as one. True: SIGTERM or SIGINT
 * was received. */
static bool api_main_has_stop_signal(struct api_process *process, int wait_ms)
{
    int signal_number = api_main_wait_for_signal(process, wait_ms);
    while (signal_number != 0) {
        if (signal_number == SIGHUP)
            process->must_reread = true;
        else
            process->stop_signal = signal_number;
        signal_number = api_main_wait_for_signal(process, 0);
    }
    return process->stop_signal != 0;
}

static void log_unfinished(struct api *api)
{
    log_warning("grace period expired, work is left unfinished",
                log_number("requests", (int64_t)http_server_in_flight(api->public_server)),
                log_number("websockets", (int64_t)http_server_upgraded(api->public_server)),
                log_number("callbacks", (int64_t)http_server_in_flight(api->internal_server)),
                log_number("other", (int64_t)inflight_count(api)));
}

/* Logs what is in flight, as the last act of the process. The lock stays locked, so that the main
 * thread can't close the counted parts in the meantime. */
static void api_main_note_overdue(void *context)
{
    struct api_process *process = context;
    pthread_mutex_lock(&process->lock);
    if (process->is_draining)
        log_unfinished(&process->service.api);
    else
        log_warning("grace period expired, work in flight is abandoned",
                    log_number("grace_ms", process->service.options.grace_ms));
}

static void set_draining(struct api_process *process, bool is_draining)
{
    pthread_mutex_lock(&process->lock);
    process->is_draining = is_draining;
    pthread_mutex_unlock(&process->lock);
}

static enum bw_code api_main_take_signals(struct api_process *process, struct bw_error *error)
{
    pthread_mutex_init(&process->lock, NULL);
    if (pipe2(process->signals, O_CLOEXEC | O_NONBLOCK) != 0)
        return bw_fail(error, BW_INTERNAL, "no pipe could be opened for signals");
    return stop_signal_start(
        &(struct stop_signal_handlers){.received = api_main_take_signal,
                                       .overdue = api_main_note_overdue,
                                       .context = process,
                                       .grace_ms = process->service.options.grace_ms},
        error);
}

/* ---- Serving ---- */

/* Reads tokens and courses from the database, while both ports are open. BW_PENDING: a shutdown was
 * requested. */
static enum bw_code wait_until_loaded(struct api_process *process, struct bw_error *error)
{
    struct service *service = &process->service;
    int64_t begun_ms = clock_boot_ms(), explain_ms = begun_ms + EXPLAIN_EVERY_MS;
    bool is_reported = false, is_explained = false;
    for (;;) {
        enum bw_code code = service_load(service, error);
        int64_t waited_ms = clock_boot_ms() - begun_ms;
        if (code != BW_UNAVAILABLE)
            return code;
        if (!is_reported && waited_ms >= REPORT_AFTER_MS) {
            log_warning("waiting for the database", log_text("reason", error->message));
            is_reported = true;
        }
        if (!is_explained && clock_boot_ms() >= explain_ms) {
            is_explained = database_explain(service->api.database);
            explain_ms = clock_boot_ms() + EXPLAIN_EVERY_MS;
        }
        if (api_main_has_stop_signal(process, DATABASE_PROBE_MS))
            return BW_PENDING;
    }
}

static void reread_courses(struct api *api)
{
    course_table_reread(api->courses, api->options->course_config);
    if (api->options->course_config != NULL)
        scheduling_settings_notify(api);
}

/* Waits for SIGTERM or SIGINT, and returns the signal's number. Handles SIGHUP. */
static int wait_for_end(struct api_process *process)
{
    struct api *api = &process->service.api;
    for (;;) {
        bool must_reread = process->must_reread;
        process->must_reread = false;
        if (must_reread)
            reread_courses(api);
        if (api_main_has_stop_signal(process, -1))
            return process->stop_signal;
    }
}

/* ---- Shutdown ---- */

/* The number of operations that requests, websockets or messages have begun at the public port. */
static size_t count_public(struct api *api)
{
    return http_server_in_flight(api->public_server) + http_server_upgraded(api->public_server) +
           inflight_count(api);
}

static size_t count_all(struct api *api)
{
    return count_public(api) + http_server_in_flight(api->internal_server);
}

/* Waits until nothing has been in flight for DRAIN_QUIET_MS. False: `end_ms` has passed. */
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
        usleep(DRAIN_POLL_MS * 1000);
    }
}

/* Refuses new work, and answers waiting polls empty. The internal port stays open, since the
 * scheduler's answers complete the operations that wait for them. */
static void refuse_new_work(struct api *api)
{
    atomic_store(&api->is_draining, true);
    http_server_stop_accepting(api->public_server);
    event_streams_drain(api->streams);
    log_streams_drain(api->log_streams);
    sockets_shut(api->sockets);
    poll_table_drain(api->polls);
    signals_leave(api->signals);
}

/* Logs the reason of a failed start, as the last line of the log. */
static void log_failure(const struct bw_error *failure)
{
    log_error("start failed", log_text("reason", failure->message));
}

/* Shuts down in three steps. 1. New work is refused. 2. Operations in flight are completed, within
 * the grace period. 3. The parts are stopped (service.c). If an operation could not be completed,
 * it still uses memory that step 3 would free; since a process has no durable state, it then exits
 * without freeing. `failure` is the reason of a failed start, or NULL. */
static void api_main_shut_down(struct api_process *process, const struct bw_error *failure)
{
    struct api *api = &process->service.api;
    int64_t end_ms = clock_boot_ms() + process->service.options.grace_ms;
    set_draining(process, true);
    refuse_new_work(api);
    bool is_quiet = is_quiet_by(api, count_public, end_ms);
    if (is_quiet) {
        http_server_stop_accepting(api->internal_server);
        is_quiet = is_quiet_by(api, count_all, end_ms);
    }
    if (!is_quiet)
        log_unfinished(api);
    set_draining(process, false);
    bool is_stopped = is_quiet && service_stop(&process->service);
    if (failure != NULL)
        log_failure(failure);
    else if (is_stopped)
        log_event(LOG_LEVEL_INFO, "stopped");
    if (!is_stopped)
        _exit(failure != NULL ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* ---- The process ---- */

static void api_main_prepare(struct service *service)
{
    const struct api_options *options = &service->options;
    struct api *api = &service->api;
    http_server_install_memory();
    stop_signal_block();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    database_library_open();
    log_open("broadway-api", (enum log_level)options->log_level,
             (enum log_format)options->log_format);
    config_warn_unknown();
    api->options = options;
    api->metrics = api_metrics_new();
    api->known_tokens = known_tokens_new();
    api->pages = pages_open();
    snprintf(api->replica_id, sizeof api->replica_id, "%s", options->internal_url);
    secret_random_hex(api->process_id, sizeof api->process_id);
    request_id_open(api->process_id);
    if (options->poll_wait_ms > LONGEST_POLL_WAIT_MS)
        log_warning("polls are held above 19 s: classic graders abandon them after 20 s",
                    log_text("source", config_source("poll-wait")),
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
    pages_close(service->api.pages);
    database_library_close();
    log_close();
}

/* Serves until the shutdown. Returns the process's exit status. */
static int api_main_serve(struct api_process *process)
{
    struct service *service = &process->service;
    struct bw_error error;
    enum bw_code code = wait_until_loaded(process, &error);
    if (code == BW_OK) {
        atomic_store(&service->api.is_serving, true);
        log_started(service);
        log_info("shutting down", log_number("signal", wait_for_end(process)));
    }
    bool is_failure = code != BW_OK && code != BW_PENDING;
    api_main_shut_down(process, is_failure ? &error : NULL);
    return is_failure ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --print-openapi: prints the OpenAPI document, and does nothing else. */
static int print_document(void)
{
    char *text = openapi_document_text();
    bool is_printed = fputs(text, stdout) >= 0 && fflush(stdout) == 0;
    free(text);
    return is_printed ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int count, char **arguments)
{
    static struct api_process process;
    if (count == 2 && strcmp(arguments[1], "--print-openapi") == 0)
        return print_document();
    struct service *service = &process.service;
    struct bw_error error;
    if (api_options_read(&service->options, count, arguments, &error) != BW_OK) {
        fprintf(stderr, "broadway-api: %s\n", error.message);
        return EXIT_USAGE;
    }
    api_main_prepare(service);
    int status;
    enum bw_code code = api_main_take_signals(&process, &error);
    if (code == BW_OK)
        code = service_start(service, &error);
    if (code == BW_OK) {
        status = api_main_serve(&process);
    } else {
        log_failure(&error);
        status = code == BW_BAD_REQUEST ? EXIT_USAGE : EXIT_FAILURE;
    }
    api_main_finish(service);
    return status;
}
