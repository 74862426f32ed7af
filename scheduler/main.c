/*
 * broadway-scheduler: takes the leader's lease, leads while it holds the lease, and stands by while
 * another process does.
 *
 * Order of the shutdown: the core stops, the lease is released, operations in flight are completed,
 * connections are closed. SIGHUP, such as from a closed terminal, does not stop the process.
 */
#include <curl/curl.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/descriptors.h"
#include "common/base/json_memory.h"
#include "common/base/log.h"
#include "common/base/otlp.h"
#include "common/base/request_id.h"
#include "common/base/secret.h"
#include "common/base/stop_signal.h"
#include "common/store/audit_store.h"
#include "common/store/history_store.h"
#include "common/store/job_times_store.h"
#include "common/store/setting_store.h"
#include "scheduler/core/core.h"
#include "scheduler/options.h"
#include "scheduler/io/retention.h"
#include "scheduler/metrics.h"
#include "scheduler/io/status.h"
#include "scheduler/io/status_server.h"
#include "scheduler/io/webhook_sender.h"

enum {
    DATABASE_PAUSE_MS = 500,
    EXPLAIN_EVERY_MS = 4000,
    EXIT_USAGE = 2,
    TOKEN_BYTES = 32,
    /* Fewer than twenty threads use the database, whatever the limits of its pools, and the driver
     * has monitoring connections to the servers. */
    DATABASE_DESCRIPTORS = 52,
    /* callbacks (one per replica), the listener, the log, a reserve */
    OTHER_DESCRIPTORS = 52,
    /* A request to a webhook: two connections that are tried at once, and what resolves its name.
     */
    WEBHOOK_DESCRIPTORS = 5,
    WEBHOOK_REQUESTS = 32, /* at a time, of a quarter of the descriptors at most */
};

/* The process. */
struct program {
    struct core core;
    struct setting_store *settings;
    struct definition_store *definitions;
    struct file_store *files;
    struct audit_store *audit;
    struct history_store *history;
    struct job_times_store *job_times;
    struct receipt_store *receipts;
    struct image_pin_store *image_pins;
    struct log_store *logs;
    struct webhook_store *webhooks;
    struct webhook_delivery_store *webhook_deliveries;
    struct webhook_allow_list *webhook_allowed;
    struct webhook_sender *webhook_sender;
    struct retention *retention;
    char internal_token[SETTING_SIZE];
    size_t connections;      /* most connections of the status port */
    size_t webhook_requests; /* to webhooks, at a time */
};

/* SIGHUP has no effect here: all settings come from flags. */
static void scheduler_main_take_signal(int signal_number, void *context)
{
    struct core *core = context;
    if (signal_number == SIGHUP) {
        log_warning("SIGHUP: there is nothing to reload", log_number("signal", signal_number));
        return;
    }
    log_info("shutting down", log_number("signal", signal_number));
    inbox_post(core->inbox,
               event_new(EVENT_STOP, 0)); /* last: the log may be closed from here on */
}

static void scheduler_main_note_overdue(void *context)
{
    const struct core *core = context;
    log_warning("grace period expired, work in flight is abandoned",
                log_number("grace_ms", core->options->grace_ms));
}

static enum bw_code scheduler_main_take_signals(struct core *core, struct bw_error *error)
{
    return stop_signal_start(&(struct stop_signal_handlers){.received = scheduler_main_take_signal,
                                                            .overdue = scheduler_main_note_overdue,
                                                            .context = core,
                                                            .grace_ms = core->options->grace_ms},
                             error);
}

static void take_flags(struct core *core, const struct scheduler_options *options)
{
    core->options = options;
    struct scheduler_settings settings = {.heartbeat_ms = options->heartbeat_interval_ms,
                                          .job_timeout_ms = options->job_timeout_ms,
                                          .retain_runs_ms = options->retain_runs_ms,
                                          .orphan_age_ms = options->orphan_age_ms,
                                          .retain_audit_ms = options->retain_audit_ms,
                                          .no_workers_ms = options->no_workers_ms,
                                          .max_attempts = (uint32_t)options->max_attempts,
                                          .exports_spans = options->otlp_endpoint != NULL};
    char host[64] = "", random[17];
    gethostname(host, sizeof host - 1);
    secret_random_hex(random, sizeof random);
    request_id_open(random);
    snprintf(settings.holder, sizeof settings.holder, "%s-%d-%s", host, (int)getpid(), random);
    scheduler_init(&core->scheduler, &settings, core->metrics);
}

static enum bw_code open_stores(struct program *program, struct bw_error *error)
{
    struct core *core = &program->core;
    enum bw_code code = leader_store_open(core->database, &core->leader_store, error);
    if (code != BW_OK)
        return code;
    core->leadership = leadership_new(core->leader_store, core->inbox,
                                      core->scheduler.settings.holder,
                                      core->options->leader_lease_ms);
    struct fence fence = leadership_fence(core->leadership);
    code = run_store_open(core->database, &core->runs, error);
    if (code == BW_OK)
        code = lease_store_open(core->database, fence, &core->lease_store, error);
    if (code == BW_OK)
        code = result_store_open(core->database, fence, &core->results, error);
    if (code == BW_OK)
        code = worker_store_open(core->database, &core->worker_store, error);
    if (code == BW_OK)
        code = replica_store_open(core->database, &core->replica_store, error);
    if (code == BW_OK)
        code = signal_store_open(core->database, &core->signals, error);
    if (code == BW_OK)
        code = setting_store_open(core->database, &program->settings, error);
    if (code == BW_OK)
        code = definition_store_open(core->database, &program->definitions, error);
    if (code == BW_OK)
        code = log_store_open(core->database, 0, &program->logs, error);
    if (code == BW_OK)
        code = file_store_open(core->database, &program->files, error);
    if (code == BW_OK)
        code = audit_store_open(core->database, &program->audit, error);
    if (code == BW_OK)
        code = history_store_open(core->database, &program->history, error);
    if (code == BW_OK)
        code = job_times_store_open(core->database, &program->job_times, error);
    if (code == BW_OK)
        code = receipt_store_open(core->database, &program->receipts, error);
    if (code == BW_OK)
        code = image_pin_store_open(core->database, &program->image_pins, error);
    if (code == BW_OK)
        code = pause_store_open(core->database, &core->pause_store, error);
    if (code == BW_OK)
        code = scheduling_store_open(core->database, &core->scheduling_store, error);
    if (code == BW_OK)
        code = webhook_store_open(core->database, &program->webhooks, error);
    if (code == BW_OK)
        code = webhook_delivery_store_open(core->database, &program->webhook_deliveries, error);
    if (code != BW_OK)
        return code;
    program->retention = retention_new(
        &(struct retention_stores){.definitions = program->definitions,
                                   .runs = core->runs,
                                   .leases = core->lease_store,
                                   .results = core->results,
                                   .logs = program->logs,
                                   .files = program->files,
                                   .receipts = program->receipts,
                                   .image_pins = program->image_pins,
                                   .pauses = core->pause_store,
                                   .webhooks = program->webhooks});
    return BW_OK;
}

/* True: the process is to stop. Before the core leads, EVENT_STOP is the only event that can be
 * posted. */
static bool sleep_or_stop(struct core *core, int64_t pause_ms)
{
    bool stops = false;
    struct event *events = inbox_take(core->inbox, clock_boot_ms() + pause_ms);
    while (events != NULL) {
        struct event *event = events;
        events = event->next;
        stops = stops || event->kind == EVENT_STOP;
        event_free(event);
    }
    return stops;
}

/* Sets the token that the replicas expect: from the configuration, or the one stored in the
 * database. */
static enum bw_code load_internal_token(struct program *program, struct bw_error *error)
{
    char proposed[2 * TOKEN_BYTES + 1];
    bool is_new;
    const char *given = program->core.options->internal_token;
    if (given != NULL) {
        snprintf(program->internal_token, sizeof program->internal_token, "%s", given);
        return BW_OK;
    }
    secret_random_hex(proposed, sizeof proposed);
    return setting_store_agree(program->settings, "internal_token", proposed,
                               program->internal_token, &is_new, error);
}

/* BW_UNAVAILABLE: try again later. Any other error is permanent. */
static enum bw_code try_to_prepare(struct program *program, struct bw_error *error)
{
    enum bw_code code = database_ping(program->core.database, error);
    if (code == BW_OK)
        return load_internal_token(program, error);
    struct bw_error reason = *error;
    code = database_check(program->core.database, error);
    return code == BW_OK ? bw_fail(error, BW_UNAVAILABLE, "%s", reason.message) : code;
}

/* Waits for the database and reads the token. BW_PENDING: the process was stopped. */
static enum bw_code scheduler_main_prepare(struct program *program, struct bw_error *error)
{
    int64_t explain_ms = clock_boot_ms() + EXPLAIN_EVERY_MS;
    bool was_notified = false, is_explained = false;
    for (;;) {
        enum bw_code code = try_to_prepare(program, error);
        if (code != BW_UNAVAILABLE)
            return code;
        if (!was_notified)
            log_warning("waiting for the database", log_text("reason", error->message));
        was_notified = true;
        if (!is_explained && clock_boot_ms() >= explain_ms) {
            is_explained = database_explain(program->core.database);
            explain_ms = clock_boot_ms() + EXPLAIN_EVERY_MS;
        }
        if (sleep_or_stop(&program->core, DATABASE_PAUSE_MS))
            return BW_PENDING;
    }
}

/* `leader` is NULL while the leader is unknown. */
static void publish_standby(struct core *core, const char *state, const struct leader *leader)
{
    bool is_ready = strcmp(state, "ready") == 0;
    json_t *body = json_pack("{s:s,s:s}", "status", state, "role", "standby");
    if (leader != NULL && leader->term > 0) {
        json_object_set_new(body, "leader", json_string(leader->holder));
        json_object_set_new(body, "term", json_integer(leader->term));
    }
    status_set_ready(core->status, is_ready, json_dumps(body, JSON_COMPACT));
    json_decref(body);
}

/* Counts a hand-over for each change of the term that this process sees. */
static void scheduler_main_note_leader(struct core *core, const struct leader *leader)
{
    int64_t former = metric_read(core->metrics, SCHEDULER_TERM);
    if (former > 0 && leader->term > former)
        metric_add(core->metrics, SCHEDULER_HAND_OVERS, leader->term - former);
    metric_set(core->metrics, SCHEDULER_TERM, leader->term);
}

/* Alternates between standing by and leading, until stopped. */
static void scheduler_main_serve(struct core *core)
{
    int64_t pause_ms = core->options->leader_lease_ms / 10;
    while (!core->scheduler.is_stopping) {
        struct bw_error error;
        struct leader leader = {.term = 0};
        bool is_taken = false;
        enum bw_code code = leadership_take(core->leadership, &leader, &is_taken, &error);
        if (code == BW_OK)
            scheduler_main_note_leader(core, &leader);
        publish_standby(core, code == BW_OK ? "ready" : "database unreachable", &leader);
        if (code == BW_OK && is_taken) {
            log_info("leading", log_number("term", leader.term));
            core_lead(core, &leader);
            leadership_resign(core->leadership, core->scheduler.is_stopping);
            log_info("no longer leading", log_number("term", leader.term));
        } else if (sleep_or_stop(core, pause_ms)) {
            return;
        }
    }
}

static void close_stores(struct program *program)
{
    struct core *core = &program->core;
    lease_store_close(core->lease_store);
    result_store_close(core->results);
    run_store_close(core->runs);
    worker_store_close(core->worker_store);
    replica_store_close(core->replica_store);
    signal_store_close(core->signals);
    leadership_free(core->leadership); /* last: the stores' fence refers to it */
    leader_store_close(core->leader_store);
    setting_store_close(program->settings);
    retention_free(program->retention);
    definition_store_close(program->definitions);
    log_store_close(program->logs);
    receipt_store_close(program->receipts);
    image_pin_store_close(program->image_pins);
    file_store_close(program->files);
    audit_store_close(program->audit);
    history_store_close(program->history);
    job_times_store_close(program->job_times);
    pause_store_close(core->pause_store);
    scheduling_store_close(core->scheduling_store);
    webhook_store_close(program->webhooks);
    webhook_delivery_store_close(program->webhook_deliveries);
    webhook_allow_list_free(program->webhook_allowed);
}

static enum bw_code scheduler_main_open_sender(struct program *program, struct bw_error *error)
{
    struct core *core = &program->core;
    return webhook_sender_open(
        &(struct webhook_sender_settings){.webhooks = program->webhooks,
                                          .requests_max = program->webhook_requests,
                                          .deliveries = program->webhook_deliveries,
                                          .allowed = program->webhook_allowed,
                                          .metrics = core->metrics,
                                          .fence = leadership_fence(core->leadership),
                                          .retry_ms = core->options->webhook_retry_ms},
        &program->webhook_sender, error);
}

static enum bw_code scheduler_main_run(struct program *program, struct bw_error *error)
{
    struct core *core = &program->core;
    const struct scheduler_options *options = core->options;
    enum bw_code code = status_open(options->metrics_bind_address, (uint16_t)options->metrics_port,
                                    program->connections, core->metrics, &core->status, error);
    if (code != BW_OK)
        return code;
    publish_standby(core, "starting", NULL);
    code = scheduler_main_prepare(program, error);
    if (code == BW_PENDING)
        return BW_OK;
    if (code == BW_OK)
        code = callbacks_open(program->internal_token, core->inbox, &core->callbacks, error);
    if (code == BW_OK)
        code = scheduler_main_open_sender(program, error);
    if (code != BW_OK)
        return code;
    core->db_jobs = db_jobs_open(
        &(struct db_jobs_settings){.database = core->database,
                                   .runs = core->runs,
                                   .leases = core->lease_store,
                                   .workers = core->worker_store,
                                   .results = core->results,
                                   .signals = core->signals,
                                   .leader = core->leader_store,
                                   .retention = program->retention,
                                   .files = program->files,
                                   .audit = program->audit,
                                   .history = program->history,
                                   .job_times = program->job_times,
                                   .pauses = core->pause_store,
                                   .scheduling = core->scheduling_store,
                                   .webhooks = program->webhooks,
                                   .webhook_deliveries = program->webhook_deliveries,
                                   .webhook_sender = program->webhook_sender,
                                   .metrics = core->metrics,
                                   .inbox = core->inbox,
                                   .fence = leadership_fence(core->leadership)});
    scheduler_main_serve(core);
    scheduler_destroy(&core->scheduler);
    db_jobs_close(core->db_jobs);
    webhook_sender_close(program->webhook_sender);
    callbacks_close(core->callbacks);
    return BW_OK;
}

/* Limits the connections of the status port, so that enough descriptors remain for the database and
 * for callbacks. */
static enum bw_code limit_connections(struct program *program, struct bw_error *error)
{
    struct bw_error reason;
    size_t database;
    enum bw_code code = database_descriptors(program->core.options->mongodb_uri, &database,
                                             &reason);
    if (code != BW_OK)
        return bw_fail(error, code, "%s: %s", config_source("mongodb-uri"), reason.message);
    if (database > DATABASE_DESCRIPTORS)
        database = DATABASE_DESCRIPTORS;
    size_t limit = descriptors_raise(), others = database + OTHER_DESCRIPTORS + WEBHOOK_DESCRIPTORS;
    if (limit < others + STATUS_CONNECTIONS_LEAST)
        return descriptors_refuse(limit, others + STATUS_CONNECTIONS_LEAST,
                                  STATUS_CONNECTIONS_LEAST, database, error);
    program->webhook_requests = 1 + (limit - others) / 4 / WEBHOOK_DESCRIPTORS;
    if (program->webhook_requests > WEBHOOK_REQUESTS)
        program->webhook_requests = WEBHOOK_REQUESTS;
    others += (program->webhook_requests - 1) * WEBHOOK_DESCRIPTORS;
    program->connections = limit - others < STATUS_CONNECTIONS ? limit - others
                                                               : STATUS_CONNECTIONS;
    if (program->connections < STATUS_CONNECTIONS)
        log_warning("the limit of open files allows fewer connections of the port",
                    log_number("connections", (int64_t)program->connections));
    return BW_OK;
}

static enum bw_code open_database(struct core *core, const struct scheduler_options *options,
                                  struct bw_error *error)
{
    struct bw_error reason;
    const struct database_metrics counted = {.metrics = core->metrics,
                                             .seconds_row = SCHEDULER_DATABASE_SECONDS_FIND,
                                             .failed_row = SCHEDULER_DATABASE_FAILED_FIND};
    enum bw_code code = database_open(options->mongodb_uri, options->mongodb_database,
                                      "broadway-scheduler", &counted, &core->database, &reason);
    return code == BW_OK
               ? BW_OK
               : bw_fail(error, code, "%s: %s", config_source("mongodb-uri"), reason.message);
}

static enum bw_code scheduler_main_read_allowed(struct program *program, struct bw_error *error)
{
    struct bw_error reason;
    enum bw_code code = webhook_allow_list_new(program->core.options->webhook_allow,
                                               &program->webhook_allowed, &reason);
    return code == BW_OK
               ? BW_OK
               : bw_fail(error, code, "%s: %s", config_source("webhook-allow"), reason.message);
}

static enum bw_code open_otlp(struct core *core, const struct scheduler_options *options,
                              struct bw_error *error)
{
    const struct otlp_settings settings = {.endpoint = options->otlp_endpoint,
                                           .service = "broadway-scheduler",
                                           .instance = core->scheduler.settings.holder,
                                           .metrics = core->metrics,
                                           .sent_row = SCHEDULER_SPANS_SENT,
                                           .dropped_row = SCHEDULER_SPANS_DROPPED};
    return options->otlp_endpoint == NULL ? BW_OK : otlp_open(&settings, &core->otlp, error);
}

int main(int count, char **arguments)
{
    static struct program program;
    struct core *core = &program.core;
    struct scheduler_options options;
    struct bw_error error;
    if (scheduler_options_read(&options, count, arguments, &error) != BW_OK) {
        fprintf(stderr, "broadway-scheduler: %s\n", error.message);
        return EXIT_USAGE;
    }
    json_memory_install();
    stop_signal_block();
    log_open("broadway-scheduler", (enum log_level)options.log_level,
             (enum log_format)options.log_format);
    config_warn_unknown();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    database_library_open();
    core->metrics = scheduler_metrics_new();
    take_flags(core, &options);
    core->inbox = inbox_new();
    enum bw_code code = scheduler_main_read_allowed(&program, &error);
    if (code == BW_OK)
        code = limit_connections(&program, &error);
    if (code == BW_OK)
        code = open_database(core, &options, &error);
    if (code == BW_OK)
        code = open_stores(&program, &error);
    if (code == BW_OK)
        code = open_otlp(core, &options, &error);
    if (code == BW_OK)
        code = scheduler_main_take_signals(core, &error);
    if (code == BW_OK)
        code = scheduler_main_run(&program, &error);
    status_close(core->status);
    otlp_close(core->otlp);
    close_stores(&program);
    database_close(core->database);
    if (code == BW_OK)
        log_event(LOG_LEVEL_INFO, "stopped");
    else
        log_error("start failed", log_text("reason", error.message));
    log_close();
    if (code == BW_OK)
        return EXIT_SUCCESS;
    return code == BW_BAD_REQUEST ? EXIT_USAGE : EXIT_FAILURE;
}
