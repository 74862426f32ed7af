/*
 * broadway-api: serves the REST API and takes the scheduler's callbacks, until it is asked to
 * leave.
 *
 * It starts and stops by the tables of service.c. Both ports are open before the database is
 * reached: until then it is not ready, and refuses what it can't judge. At SIGTERM: not ready any
 * more, parked polls are answered empty, websockets are closed, the scheduler is told, and what is
 * under way gets --grace to be settled. The internal port stays open meanwhile. A second signal,
 * or the end of the grace, ends the process at once, whatever its threads wait for.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
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
    EXPLAIN_EVERY_MS = 4000,
    DRAIN_LOOK_MS = 20,
    DRAIN_QUIET_MS = 250,        /* for what has reached our sockets and was not read yet */
    LONGEST_POLL_WAIT_MS = 19000 /* classic graders give up at 20 s */
};

/* The process: its parts, and its signals on their way from their thread to the main one. */
struct api_process {
    struct service service;
    int signals[2]; /* a pipe: a byte for each signal */
    pthread_mutex_t lock;
    bool is_draining; /* guarded by lock: the parts can be asked what is under way */
    bool must_reread; /* SIGHUP came and was not followed yet; main thread */
    int stop_signal;  /* SIGTERM or SIGINT came; main thread */
};

/* ---- Signals ---- */

static void api_main_take_signal(int signal_number, void *context)
{
    const struct api_process *process = context;
    char byte = (char)signal_number;
    if (write(process->signals[1], &byte, 1) != 1)
        log_warning("a signal was lost", log_number("signal", signal_number));
}

/* Waits for a signal, `wait_ms` at most, without end if negative. 0: none came. */
static int api_main_wait_for_signal(const struct api_process *process, int wait_ms)
{
    struct pollfd pipe_end = {.fd = process->signals[0], .events = POLLIN};
    char byte;
    if (poll(&pipe_end, 1, wait_ms) <= 0 || read(process->signals[0], &byte, 1) != 1)
        return 0;
    return byte;
}

/* The same, and notes all that have come: several SIGHUPs are one. True: SIGTERM or SIGINT. */
static bool is_asked_to_leave(struct api_process *process, int wait_ms)
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
    log_warning("the grace is over, work is left unfinished",
                log_number("requests", (int64_t)http_server_in_flight(api->public_server)),
                log_number("websockets", (int64_t)http_server_upgraded(api->public_server)),
                log_number("callbacks", (int64_t)http_server_in_flight(api->internal_server)),
                log_number("other", (int64_t)inflight_count(api)));
}

/* The lock is kept: what is counted is not closed before the process has ended. */
static void api_main_note_overdue(void *context)
{
    struct api_process *process = context;
    pthread_mutex_lock(&process->lock);
    if (process->is_draining)
        log_unfinished(&process->service.api);
    else
        log_warning("the grace is over, what is under way is left",
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

/* Learns what the database has to say. Meanwhile both ports are open. BW_PENDING: asked to leave.
 */
static enum bw_code wait_until_settled(struct api_process *process, struct bw_error *error)
{
    struct service *service = &process->service;
    int64_t begun_ms = clock_boot_ms(), explain_ms = begun_ms + EXPLAIN_EVERY_MS;
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
        if (!is_explained && clock_boot_ms() >= explain_ms) {
            is_explained = database_explain(service->api.database);
            explain_ms = clock_boot_ms() + EXPLAIN_EVERY_MS;
        }
        if (is_asked_to_leave(process, DATABASE_LOOK_MS))
            return BW_PENDING;
    }
}

/* Waits until it is time to leave. SIGHUP asks for something else. */
static int wait_for_end(struct api_process *process)
{
    const struct api *api = &process->service.api;
    for (;;) {
        bool must_reread = process->must_reread;
        process->must_reread = false;
        if (must_reread)
            course_table_reread(api->courses, api->options->course_config);
        if (is_asked_to_leave(process, -1))
            return process->stop_signal;
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
        usleep(DRAIN_LOOK_MS * 1000);
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

/* The last line of a log says why its process could not start. */
static void log_failure(const struct bw_error *failure)
{
    log_error("start failed", log_text("reason", failure->message));
}

/* 1. No new work. 2. What is under way is settled, within the grace. 3. The parts are stopped
 * (service.c). What could not be settled uses what would be freed, and nothing durable lives in a
 * process: so then it ends as it stands. `failure` (or NULL) is why it never served. */
static void api_main_leave(struct api_process *process, const struct bw_error *failure)
{
    struct api *api = &process->service.api;
    int64_t end_ms = clock_boot_ms() + process->service.options.grace_ms;
    set_draining(process, true);
    refuse_new_work(api);
    bool is_quiet = !MUTANT("leaves_unsettled") && is_quiet_by(api, count_public, end_ms);
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
    http_server_settle_memory();
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
        log_warning("polls are held above 19 s: graders of 2018 give up after 20 s",
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
    database_library_close();
    log_close();
}

/* Serves until it is time to leave. The process's exit status. */
static int api_main_serve(struct api_process *process)
{
    struct service *service = &process->service;
    struct bw_error error;
    enum bw_code code = wait_until_settled(process, &error);
    if (code == BW_OK) {
        atomic_store(&service->api.is_serving, true);
        log_started(service);
        log_info("leaving", log_number("signal", wait_for_end(process)));
    }
    bool is_failure = code != BW_OK && code != BW_PENDING;
    api_main_leave(process, is_failure ? &error : NULL);
    return is_failure ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int count, char **arguments)
{
    static struct api_process process;
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
