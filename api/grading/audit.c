#include "api/grading/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/http/exchange.h"
#include "api/metrics.h"
#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/text_buffer.h"
#include "common/base/text_cut.h"

#define PATH "/api/v1/"

/* What the requests of a route do, in the entries' words: one row for each route of clients that
 * changes something. */
static const struct audit_action {
    const char *method, *path, *action;
} audit_actions[] = {
    /* classic */
    {"POST", PATH "grading_run", AUDIT_RUN_CREATE},
    {"POST", PATH "grading_run/{id}", "run.start"},
    {"POST", PATH "grading_run/{id}/cancel", "run.cancel"},
    {"POST", PATH "grading_run/{id}/rerun", "run.rerun"},
    {"POST", PATH "grading_job/{job}/cancel", "job.cancel"},
    {"POST", PATH "grading_run/{id}/pause", "run.pause"},
    {"POST", PATH "grading_run/{id}/resume", "run.resume"},
    {"POST", PATH "files", "file.store"},
    {"POST", PATH "cluster_pause", "cluster.pause"},
    {"POST", PATH "cluster_resume", "cluster.resume"},
    {"POST", PATH "worker_pause", "worker.pause"},
    {"POST", PATH "worker_resume", "worker.resume"},
    {"POST", PATH "webhooks", "webhook.create"},
    {"POST", PATH "webhooks/{webhook}/delete", "webhook.delete"},
    {"POST", PATH "webhooks/{webhook}/redeliver", "webhook.redeliver"},
    {"POST", PATH "scheduling/courses/{course}", "share.set"},
    {"POST", PATH "scheduling/courses/{course}/delete", "share.reset"},
    {"POST", PATH "scheduling/reservations/{reservation}", "reservation.set"},
    {"POST", PATH "scheduling/reservations/{reservation}/delete", "reservation.delete"},
    /* courses */
    {"POST", PATH "grading_config/{course}/{assignment}", "config.replace"},
    {"POST", PATH "grading_run/{course}/{assignment}", AUDIT_RUN_CREATE},
    {"POST", PATH "grading_run/{course}/{run}/cancel", "run.cancel"},
    {"POST", PATH "grading_run/{course}/{run}/rerun", "run.rerun"},
    {"POST", PATH "grading_job/{course}/{job}/cancel", "job.cancel"},
    {"POST", PATH "grading_run/{course}/{run}/pause", "run.pause"},
    {"POST", PATH "grading_run/{course}/{run}/resume", "run.resume"},
    {"POST", PATH "assignment/{course}/{assignment}/pause", "assignment.pause"},
    {"POST", PATH "assignment/{course}/{assignment}/resume", "assignment.resume"},
    {"POST", PATH "course/{course}/pause", "course.pause"},
    {"POST", PATH "course/{course}/resume", "course.resume"},
    {"POST", PATH "files/{course}", "file.store"},
    {"POST", PATH "cluster/pause", "cluster.pause"},
    {"POST", PATH "cluster/resume", "cluster.resume"},
    {"POST", PATH "worker/{worker}/pause", "worker.pause"},
    {"POST", PATH "worker/{worker}/resume", "worker.resume"},
    {"POST", PATH "webhooks/{course}", "webhook.create"},
    {"POST", PATH "webhooks/{course}/{webhook}/delete", "webhook.delete"},
    {"POST", PATH "webhooks/{course}/{webhook}/redeliver", "webhook.redeliver"},
};

const char *audit_action_of(const char *method, const char *path)
{
    for (size_t i = 0; i < sizeof audit_actions / sizeof *audit_actions; i++)
        if (strcmp(audit_actions[i].path, path) == 0 &&
            strcmp(audit_actions[i].method, method) == 0)
            return audit_actions[i].action;
    return NULL;
}

/* Whether an earlier row has the same action. */
static bool audit_action_is_repeated(size_t row)
{
    for (size_t i = 0; i < row; i++)
        if (strcmp(audit_actions[i].action, audit_actions[row].action) == 0)
            return true;
    return false;
}

enum bw_code audit_action_check(const char *action, const char *path, struct bw_error *error)
{
    struct text_buffer known = {.bytes = NULL};
    char shown[80];
    for (size_t i = 0; i < sizeof audit_actions / sizeof *audit_actions; i++) {
        if (strcmp(audit_actions[i].action, action) == 0) {
            text_buffer_clear(&known);
            return BW_OK;
        }
        if (audit_action_is_repeated(i))
            continue;
        text_buffer_add_text(&known, known.length > 0 ? ", " : "");
        text_buffer_add_text(&known, audit_actions[i].action);
    }
    char *list = text_buffer_take(&known);
    enum bw_code code = bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of %s", path,
                                text_show(action, shown, sizeof shown), list);
    free(list);
    return code;
}

bool audit_is_recorded(const struct route *route)
{
    bool is_of_people = route->auth == AUTH_CLIENT || route->auth == AUTH_OPERATOR;
    return is_of_people && strcmp(route->method, "GET") != 0;
}

/* ---- Filling an entry ---- */

static void audit_take_actor(struct api *api, struct exchange *exchange, struct audit_entry *entry)
{
    static const char *const kinds[] = {[TOKEN_NONE] = "anonymous",
                                        [TOKEN_OF_CLIENT] = "client",
                                        [TOKEN_OF_COURSE] = "course",
                                        [TOKEN_OF_CLUSTER] = "operator"};
    enum sender_token token = exchange_token(exchange);
    snprintf(entry->actor_kind, sizeof entry->actor_kind, "%s", kinds[token]);
    snprintf(entry->actor_name, sizeof entry->actor_name, "%s", exchange_token_name(exchange));
    if (token != TOKEN_NONE)
        auth_token_fingerprint(api->auth, exchange, entry->fingerprint);
}

/* Takes one part of the path, by its name in the pattern. {id} is a run's in these routes. */
static void audit_take_part(const char *name, size_t length, const char *part,
                            struct audit_entry *entry)
{
    struct job_id job;
    if (strncmp(name, "course", length) == 0)
        snprintf(entry->course, sizeof entry->course, "%s", part);
    else if (strncmp(name, "assignment", length) == 0)
        snprintf(entry->assignment, sizeof entry->assignment, "%s", part);
    else if (strncmp(name, "webhook", length) == 0)
        snprintf(entry->webhook, sizeof entry->webhook, "%s", part);
    else if (strncmp(name, "reservation", length) == 0)
        snprintf(entry->reservation, sizeof entry->reservation, "%s", part);
    else if (strncmp(name, "worker", length) == 0)
        snprintf(entry->worker, sizeof entry->worker, "%s", part);
    else if (strncmp(name, "job", length) == 0 && job_id_parse(part, &job)) {
        snprintf(entry->job, sizeof entry->job, "%s", part);
        memcpy(entry->run, job.run, sizeof entry->run);
    } else if (is_hex_id(part, RUN_ID_LENGTH))
        snprintf(entry->run, sizeof entry->run, "%s", part);
}

static void audit_take_path(const struct request *request, struct audit_entry *entry)
{
    const char *brace = strchr(request->route->path, '{');
    for (size_t i = 0; i < PATH_PARTS && brace != NULL; i++) {
        audit_take_part(brace + 1, strcspn(brace + 1, "}"), request->parts[i], entry);
        brace = strchr(brace + 1, '{');
    }
}

/* A worker that an argument names has an id that is a secret: its beginning is what people see. */
static void audit_take_worker(const struct request *request, struct audit_entry *entry)
{
    const char *worker = json_string_value(json_object_get(request->arguments, "worker_id"));
    if (worker != NULL)
        snprintf(entry->worker, sizeof entry->worker, "%.*s",
                 (int)text_cut_start(worker, WORKER_SHOWN_LENGTH), worker);
}

/* Fills an entry for a request: the action, who sent it and from where, and what is in its path. */
static void audit_fill(struct api *api, struct exchange *exchange, const char *action,
                       struct audit_entry *entry)
{
    const struct request *request = exchange_request(exchange);
    memset(entry, 0, sizeof *entry);
    snprintf(entry->action, sizeof entry->action, "%s", action);
    audit_take_actor(api, exchange, entry);
    audit_take_path(request, entry);
    audit_take_worker(request, entry);
    if (request->route->body == BODY_FILE)
        snprintf(entry->file, sizeof entry->file, "%s", exchange_received_file(exchange)->hex);
    snprintf(entry->address, sizeof entry->address, "%s", request->address);
    request_id_of(request, entry->request_id);
}

void audit_fill_run(struct api *api, struct exchange *exchange, const struct run *run,
                    struct audit_entry *entry)
{
    audit_fill(api, exchange, AUDIT_RUN_CREATE, entry);
    memcpy(entry->run, run->id, sizeof entry->run);
    memcpy(entry->rerun_of, run->rerun_of, sizeof entry->rerun_of);
    memcpy(entry->course, run->course, sizeof entry->course);
    memcpy(entry->assignment, run->assignment, sizeof entry->assignment);
}

/* ---- Storing it ---- */

void audit_insert(struct api *api, struct audit_commit *commit)
{
    audit_store_insert(api->audit_store, commit);
}

void audit_count(struct api *api, bool is_stored)
{
    metric_add(api->metrics, is_stored ? API_AUDIT_STORED : API_AUDIT_UNSTORED, 1);
}

/* An entry whose request waits for it. */
struct audit_record {
    struct audit_commit commit; /* first */
    struct api *api;
    struct exchange *exchange;
};

static void audit_record_completed(struct audit_commit *commit, bool is_stored)
{
    struct audit_record record = *(struct audit_record *)commit;
    free(commit);
    audit_count(record.api, is_stored);
    if (!is_stored)
        log_warning("a request could not be recorded in the audit",
                    log_text("action", record.commit.entry.action),
                    log_text("request_id", record.commit.entry.request_id));
    exchange_release(record.exchange, is_stored);
}

bool audit_record(struct api *api, struct exchange *exchange)
{
    const struct route *route = exchange_request(exchange)->route;
    if (route == NULL || !audit_is_recorded(route))
        return false;
    const char *action = audit_action_of(route->method, route->path);
    if (action == NULL || strcmp(action, AUDIT_RUN_CREATE) == 0)
        return false;
    struct audit_record *record = bw_alloc(sizeof *record);
    record->api = api;
    record->exchange = exchange;
    record->commit.completed = audit_record_completed;
    audit_fill(api, exchange, action, &record->commit.entry);
    FAILPOINT("before_audit");
    audit_insert(api, &record->commit);
    return true;
}
