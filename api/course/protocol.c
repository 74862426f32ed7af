#include "api/course/protocol.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/auth/course_table.h"
#include "api/course/envelope.h"
#include "api/course/grader.h"
#include "api/course/stream_request.h"
#include "api/course/websocket.h"
#include "api/grading/worker_cache.h"
#include "api/http/dispatch.h"
#include "common/base/json.h"
#include "common/db/database.h"
#include "common/domain/course_definition.h"
#include "common/domain/job_files.h"
#include "common/domain/run_definition.h"

/* ---- Requests of this protocol ---- */

/* Whether the path belongs to the classic protocol, whose paths have a run's or a job's id in the
 * place of the course. No course has the name of a run, and no job is called "cancel",
 * "explain", "estimate" or "log". */
static bool course_disowns(const char *const parts[PATH_PARTS])
{
    static const char *const verbs[] = {"cancel",   "results", "rerun",   "jobs",
                                        "receipts", "pause",   "resume",  "definition",
                                        "webhooks", "explain", "estimate"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (is_hex_id(parts[0], RUN_ID_LENGTH) && strcmp(parts[1], verbs[i]) == 0)
            return true;
    return is_hex_id(parts[0], JOB_ID_LENGTH) &&
           (strcmp(parts[1], "cancel") == 0 || strcmp(parts[1], "explain") == 0 ||
            strcmp(parts[1], "estimate") == 0 || strcmp(parts[1], "log") == 0);
}

/* Whether a request to grading_job/{worker} is of this protocol. The classic protocol has a job's
 * id in that place. It does not use the header when graders POST results. When clients GET a job,
 * they have the client token or none. */
static bool course_claims(struct api *api, const struct exchange *exchange,
                          const char *const parts[PATH_PARTS])
{
    const char *method = exchange_request(exchange)->method;
    bool has_token = exchange_header(exchange, "Authorization") != NULL;
    struct job_id unused;
    if (strcmp(method, "POST") == 0)
        return has_token;
    return !job_id_parse(parts[0], &unused) ||
           (has_token && !auth_has_client_token(api->auth, exchange));
}

static enum bw_code course_claims_body(struct exchange *exchange, struct bw_error *error)
{
    static const char key[] = "grading_job_id";
    const struct request *request = exchange_request(exchange);
    const struct json_limits limits = exchange_json_limits(exchange);
    struct bw_error unused;
    json_auto_t *body = NULL;
    if (memmem(request->body, request->body_length, key, sizeof key - 1) == NULL)
        return BW_OK;
    if (json_parse_within(request->body, request->body_length, "the body", &limits, &body,
                          &unused) != BW_OK ||
        json_object_get(body, key) == NULL)
        return BW_OK;
    return bw_fail(error, BW_UNAUTHORIZED, "invalid token format");
}

/* ---- Checks of the sender ---- */

/* Checks the token of a course. A valid query token on a route that needs more is refused, but not
 * counted as a wrong token. */
static enum bw_code check_course_token(struct api *api, struct exchange *exchange,
                                       const char *token, struct bw_error *error)
{
    const struct request *request = &exchange->request;
    enum course_standing standing = course_table_check(api->courses, request->parts[0], token,
                                                       exchange->sender.token_name);
    if (standing == COURSE_NOT_LOADED)
        return bw_fail(error, BW_UNAVAILABLE,
                       "this server is starting: it has not read the courses yet");
    if (standing == COURSE_UNKNOWN)
        return auth_refuse_token(api->auth, exchange, token, "course not found", error);
    if (standing == COURSE_STRANGER)
        return auth_refuse_token(api->auth, exchange, token, "invalid token", error);
    auth_accept_token(api->auth, token);
    exchange->sender.token = TOKEN_OF_COURSE;
    if (standing == COURSE_MEMBER && request->route->auth != AUTH_MEMBER)
        return bw_fail(error, BW_UNAUTHORIZED, "invalid token");
    return BW_OK;
}

/* Sets the sender, after its token was found valid. */
static void course_know_sender(struct exchange *exchange)
{
    enum auth auth = exchange->request.route->auth;
    struct sender *sender = &exchange->sender;
    sender->pool = auth == AUTH_WORKER ? MEMORY_WORKER : MEMORY_CLIENT;
    sender->kind = auth == AUTH_CLUSTER || auth == AUTH_WORKER ? CONNECTION_WORKER
                                                               : CONNECTION_CLIENT;
    if (auth == AUTH_OPERATOR)
        sender->token = TOKEN_OF_CLUSTER;
    if (auth == AUTH_WORKER)
        sender->worker = exchange->request.parts[0];
}

static enum bw_code course_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    enum auth auth = exchange->request.route->auth;
    const char *token;
    if (auth == AUTH_SOCKET) { /* checked in course_socket_authorize */
        exchange->sender.pool = MEMORY_CLIENT;
        return BW_OK;
    }
    enum bw_code code = auth_bearer_token(exchange, &token, error);
    if (code != BW_OK)
        return code;
    if (auth == AUTH_CLUSTER || auth == AUTH_WORKER || auth == AUTH_OPERATOR)
        code = auth_cluster_bearer(api->auth, exchange, token, error);
    else
        code = auth_admit_token(api->auth, exchange, token, error);
    if (code == BW_OK && (auth == AUTH_CLIENT || auth == AUTH_MEMBER))
        code = check_course_token(api, exchange, token, error);
    if (code == BW_OK)
        course_know_sender(exchange);
    return code;
}

static bool course_knows_worker(struct exchange *exchange, size_t searched)
{
    (void)searched;
    if (exchange->request.route->auth != AUTH_WORKER)
        return false;
    snprintf(exchange->worker, sizeof exchange->worker, "%s", exchange->request.parts[0]);
    return worker_cache_has(exchange->host->api->workers[PROTOCOL_COURSE], exchange->worker);
}

/* The sender of a result: the worker in the path. The cluster token has authenticated it; the job
 * is in the body. */
static const char *course_result_sender(const struct exchange *exchange)
{
    return exchange->request.parts[0];
}

static enum bw_code course_check(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    if (exchange->request.route->auth != AUTH_WORKER)
        return BW_OK;
    /* The worker can't be looked up now, and most graders exit when they are refused: it is
     * accepted. */
    if (database_is_unavailable(api->database))
        return BW_OK;
    return worker_cache_has(api->workers[PROTOCOL_COURSE], exchange->request.parts[0]) ? BW_OK
                                                                                       : BW_PENDING;
}

static void course_check_worker(void *context)
{
    struct exchange *exchange = context;
    const struct api *api = exchange->host->api;
    struct bw_error error;
    enum bw_code code = worker_cache_check(api->workers[PROTOCOL_COURSE],
                                           exchange->request.parts[0], &error);
    if (code != BW_OK && code != BW_UNAVAILABLE)
        code = bw_fail(&error, BW_UNAUTHORIZED, "worker not found");
    dispatch_worker_found(exchange, code, &error, true);
}

static void course_find_worker(struct api *api, struct exchange *exchange)
{
    (void)api;
    dispatch_run(exchange, course_check_worker);
}

static enum bw_code course_make_job(const struct definition *definition,
                                    const struct job_hand_out *job, char **payload,
                                    struct bw_error *error)
{
    enum course_grader grader = job->is_socket ? COURSE_GRADER_SOCKET : COURSE_GRADER_HTTP;
    unsigned levels = job->is_socket ? 1 : 2;
    enum bw_code code = course_job_payload(definition_object(definition), &job->id, grader, payload,
                                           error);
    if (code == BW_OK)
        *payload = job_files_add(*payload, levels, job->files);
    if (code == BW_OK)
        *payload = job_files_add_image_digests(*payload, levels, job->image_digests);
    if (code == BW_OK)
        *payload = job_files_add_traceparent(*payload, levels, job->traceparent);
    return code;
}

const struct wire_protocol course_protocol = {
    .routes = course_routes,
    .json_type = "application/json; charset=UTF-8",
    .is_for_browsers = true,
    .disowns = course_disowns,
    .claims = course_claims,
    .claims_body = course_claims_body,
    .admit = course_admit,
    .knows_worker = course_knows_worker,
    .result_sender = course_result_sender,
    .check = course_check,
    .find_worker = course_find_worker,
    .drain = course_socket_drain,
    .refuse = course_envelope_refuse,
    .results = &course_result_form,
    .make_job = course_make_job,
    .push_job = course_socket_push,
    .check_job = course_socket_check_job,
    .open_sockets = course_socket_open,
    .open_streams = course_stream_open,
    .upgrade = course_socket_upgrade,
    .take_upgraded = course_socket_take,
};
