/*
 * broadway-scheduler: takes the lease, leads while it holds it, stands by while another does.
 *
 * Order of the end: the core stops, the lease is given back, what is under way is settled,
 * connections are closed. SIGHUP, as of a terminal that is closed, ends nothing.
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
#include "common/base/request_id.h"
#include "common/base/secret.h"
#include "common/base/stop_signal.h"
#include "common/store/setting_store.h"
#include "scheduler/core/core.h"
#include "scheduler/options.h"
#include "scheduler/io/retention.h"
#include "scheduler/metrics.h"
#include "scheduler/io/status.h"
#include "scheduler/io/status_server.h"

enum {
    DATABASE_PAUSE_MS = 500,
    EXPLAIN_EVERY_MS = 4000,
    EXIT_USAGE = 2,
    TOKEN_BYTES = 32,
    /* Fewer than twenty threads use the database, whatever its pools may hold; and what watches its
     * servers. */
    DATABASE_DESCRIPTORS = 52,
    OTHER_DESCRIPTORS = 52 /* callbacks, one for each replica; the port's own; the log; spare */
};

struct scheduler {
    struct core core;
    struct setting_store *settings;
    struct definition_store *definitions;
    struct log_store *logs;
    struct retention *retention;
    char internal_token[SETTING_SIZE];
    size_t connections; /* of the port, at most */
};

/* SIGHUP asks for nothing here: what this process was told it was told by its flags. */
static void scheduler_main_take_signal(int signal_number, void *context)
{
    struct core *core = context;
    if (signal_number == SIGHUP) {
        log_warning("SIGHUP: there is nothing to read again", log_number("signal", signal_number));
        return;
    }
    log_info("stopping", log_number("signal", signal_number));
    inbox_post(core->inbox,
               event_new(EVENT_STOP, 0)); /* last: the log may be closed from here on */
}

static void scheduler_main_note_overdue(void *context)
{
    const struct core *core = context;
    log_warning("the grace is over, what is under way is left",
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
    core->heartbeat_ms = options->heartbeat_interval_ms;
    core->job_timeout_ms = options->job_timeout_ms;
    core->max_attempts = (uint32_t)options->max_attempts;
    char host[64] = "", random[17];
    gethostname(host, sizeof host - 1);
    secret_random_hex(random, sizeof random);
    request_id_open(random);
    snprintf(core->holder, sizeof core->holder, "%s-%d-%s", host, (int)getpid(), random);
}

static enum bw_code open_stores(struct scheduler *scheduler, struct bw_error *error)
{
    struct core *core = &scheduler->core;
    enum bw_code code = leader_store_open(core->database, &core->leader_store, error);
    if (code != BW_OK)
        return code;
    core->leadership = leadership_new(core->leader_store, core->inbox, core->holder,
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
        code = setting_store_open(core->database, &scheduler->settings, error);
    if (code == BW_OK)
        code = definition_store_open(core->database, &scheduler->definitions, error);
    if (code == BW_OK)
        code = log_store_open(core->database, 0, &scheduler->logs, error);
    if (code != BW_OK)
        return code;
    scheduler->retention = retention_new(
        &(struct retention_stores){.definitions = scheduler->definitions,
                                   .runs = core->runs,
                                   .leases = core->lease_store,
                                   .results = core->results,
                                   .logs = scheduler->logs});
    return BW_OK;
}

/* A stop is the only event that anyone could post before the core leads. True: stop. */
static bool sleep_or_stop(struct core *core, int64_t pause_ms)
{
    bool stops = false;
    struct event *events = inbox_take(core->inbox, clock_boot_ms() + pause_ms);
    while (events != NULL) {
        struct event *event = events;
        events = event->next;
        stops = stops || event->kind == EVENT_STOP;
        core_discard(event);
    }
    return stops;
}

/* The token that the replicas expect: given, or agreed upon in the database. */
static enum bw_code learn_token(struct scheduler *scheduler, struct bw_error *error)
{
    char proposed[2 * TOKEN_BYTES + 1];
    bool is_new;
    const char *given = scheduler->core.options->internal_token;
    if (given != NULL) {
        snprintf(scheduler->internal_token, sizeof scheduler->internal_token, "%s", given);
        return BW_OK;
    }
    secret_random_hex(proposed, sizeof proposed);
    return setting_store_agree(scheduler->settings, "internal_token", proposed,
                               scheduler->internal_token, &is_new, error);
}

/* BW_UNAVAILABLE: not yet. Otherwise it will never succeed. */
static enum bw_code try_to_prepare(struct scheduler *scheduler, struct bw_error *error)
{
    enum bw_code code = database_ping(scheduler->core.database, error);
    if (code == BW_OK)
        return learn_token(scheduler, error);
    struct bw_error reason = *error;
    code = database_check(scheduler->core.database, error);
    return code == BW_OK ? bw_fail(error, BW_UNAVAILABLE, "%s", reason.message) : code;
}

/* Waits for the database and learns the token. BW_PENDING: stopped. */
static enum bw_code scheduler_main_prepare(struct scheduler *scheduler, struct bw_error *error)
{
    int64_t explain_ms = clock_boot_ms() + EXPLAIN_EVERY_MS;
    bool was_told = false, is_explained = false;
    for (;;) {
        enum bw_code code = try_to_prepare(scheduler, error);
        if (code != BW_UNAVAILABLE)
            return code;
        if (!was_told)
            log_warning("waiting for the database", log_text("reason", error->message));
        was_told = true;
        if (!is_explained && clock_boot_ms() >= explain_ms) {
            is_explained = database_explain(scheduler->core.database);
            explain_ms = clock_boot_ms() + EXPLAIN_EVERY_MS;
        }
        if (sleep_or_stop(&scheduler->core, DATABASE_PAUSE_MS))
            return BW_PENDING;
    }
}

/* `leader` is NULL while nobody knows who leads. */
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

/* Each change of the term that this process sees is a hand-over. */
static void scheduler_main_note_leader(struct core *core, const struct leader *leader)
{
    int64_t former = metric_read(core->metrics, SCHEDULER_TERM);
    if (former > 0 && leader->term > former)
        metric_add(core->metrics, SCHEDULER_HAND_OVERS, leader->term - former);
    metric_set(core->metrics, SCHEDULER_TERM, leader->term);
}

/* Stands by and leads in turn, until stopped. */
static void scheduler_main_serve(struct core *core)
{
    int64_t pause_ms = core->options->leader_lease_ms / 10;
    while (!core->is_stopping) {
        struct bw_error error;
        struct leader leader = {.term = 0};
        bool is_taken = false;
        enum bw_code code = leadership_take(core->leadership, &leader, &is_taken, &error);
        if (code == BW_OK)
            scheduler_main_note_leader(core, &leader);
        publish_standby(core, code == BW_OK ? "ready" : "database unreachable", &leader);
        if (code == BW_OK && is_taken) {
            log_info("leading", log_number("term", leader.term));
            grader_presence_take_over(core, &leader);
            core_lead(core, leader.term);
            leadership_resign(core->leadership, core->is_stopping);
            log_info("no longer leading", log_number("term", leader.term));
        } else if (sleep_or_stop(core, pause_ms)) {
            return;
        }
    }
}

static void close_stores(struct scheduler *scheduler)
{
    struct core *core = &scheduler->core;
    lease_store_close(core->lease_store);
    result_store_close(core->results);
    run_store_close(core->runs);
    worker_store_close(core->worker_store);
    replica_store_close(core->replica_store);
    signal_store_close(core->signals);
    leadership_free(core->leadership); /* the stores' fence */
    leader_store_close(core->leader_store);
    setting_store_close(scheduler->settings);
    retention_free(scheduler->retention);
    definition_store_close(scheduler->definitions);
    log_store_close(scheduler->logs);
}

static enum bw_code scheduler_main_run(struct scheduler *scheduler, struct bw_error *error)
{
    struct core *core = &scheduler->core;
    const struct scheduler_options *options = core->options;
    enum bw_code code = status_open(options->metrics_bind_address, (uint16_t)options->metrics_port,
                                    scheduler->connections, core->metrics, &core->status, error);
    if (code != BW_OK)
        return code;
    publish_standby(core, "starting", NULL);
    code = scheduler_main_prepare(scheduler, error);
    if (code == BW_PENDING)
        return BW_OK;
    if (code == BW_OK)
        code = callbacks_open(scheduler->internal_token, core->inbox, &core->callbacks, error);
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
                                   .retention = scheduler->retention,
                                   .inbox = core->inbox,
                                   .fence = leadership_fence(core->leadership)});
    core_reset(core);
    scheduler_main_serve(core);
    kept_deadlines_clear(&core->kept_deadlines);
    db_jobs_close(core->db_jobs);
    callbacks_close(core->callbacks);
    return BW_OK;
}

/* Every connection is a descriptor, and whoever holds connections of the port must leave enough of
 * them for the database and for callbacks. */
static enum bw_code settle_descriptors(struct scheduler *scheduler, struct bw_error *error)
{
    struct bw_error reason;
    size_t database;
    enum bw_code code = database_descriptors(scheduler->core.options->mongodb_uri, &database,
                                             &reason);
    if (code != BW_OK)
        return bw_fail(error, code, "%s: %s", config_source("mongodb-uri"), reason.message);
    if (database > DATABASE_DESCRIPTORS)
        database = DATABASE_DESCRIPTORS;
    size_t limit = descriptors_raise(), others = database + OTHER_DESCRIPTORS;
    if (limit < others + STATUS_CONNECTIONS_LEAST)
        return descriptors_refuse(limit, others + STATUS_CONNECTIONS_LEAST,
                                  STATUS_CONNECTIONS_LEAST, database, error);
    scheduler->connections = limit - others < STATUS_CONNECTIONS ? limit - others
                                                                 : STATUS_CONNECTIONS;
    if (scheduler->connections < STATUS_CONNECTIONS)
        log_warning("the limit of open files leaves room for fewer connections of the port",
                    log_number("connections", (int64_t)scheduler->connections));
    return BW_OK;
}

static enum bw_code open_database(struct core *core, const struct scheduler_options *options,
                                  struct bw_error *error)
{
    struct bw_error reason;
    enum bw_code code = database_open(options->mongodb_uri, options->mongodb_database,
                                      "broadway-scheduler", &core->database, &reason);
    return code == BW_OK
               ? BW_OK
               : bw_fail(error, code, "%s: %s", config_source("mongodb-uri"), reason.message);
}

int main(int count, char **arguments)
{
    static struct scheduler scheduler;
    struct core *core = &scheduler.core;
    struct scheduler_options options;
    struct bw_error error;
    if (scheduler_options_read(&options, count, arguments, &error) != BW_OK) {
        fprintf(stderr, "broadway-scheduler: %s\n", error.message);
        return EXIT_USAGE;
    }
    json_memory_settle();
    stop_signal_block();
    log_open("broadway-scheduler", (enum log_level)options.log_level,
             (enum log_format)options.log_format);
    config_warn_unknown();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    database_library_open();
    take_flags(core, &options);
    core->inbox = inbox_new();
    core->metrics = scheduler_metrics_new();
    enum bw_code code = settle_descriptors(&scheduler, &error);
    if (code == BW_OK)
        code = open_database(core, &options, &error);
    if (code == BW_OK)
        code = open_stores(&scheduler, &error);
    if (code == BW_OK)
        code = scheduler_main_take_signals(core, &error);
    if (code == BW_OK)
        code = scheduler_main_run(&scheduler, &error);
    status_close(core->status);
    close_stores(&scheduler);
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
