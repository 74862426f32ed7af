#include "api/classic/protocol.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/classic/result.h"
#include "api/grading/delivery_table.h"
#include "api/grading/worker_cache.h"
#include "api/grading/worker_lookup.h"
#include "api/http/dispatch.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/db/database.h"
#include "common/domain/job_files.h"
#include "common/domain/run_definition.h"

enum {
    LONGEST_PAIR = 80, /* bytes of "worker_id", an id, and the characters between them */
    SHOWN_SIZE = 80
};

static const char *classic_argument(const struct exchange *exchange, const char *name)
{
    return json_string_value(json_object_get(exchange->request.arguments, name));
}

/* ---- Checks of the headers ---- */

static enum bw_code classic_admit_operator(struct api *api, struct exchange *exchange,
                                           struct bw_error *error)
{
    const char *token;
    struct bw_error unused;
    if (auth_bearer_token(exchange, &token, &unused) != BW_OK)
        return bw_fail(error, BW_UNAUTHORIZED,
                       "the header 'Authorization: Bearer <cluster token>' is missing");
    enum bw_code code = auth_cluster_bearer(api->auth, exchange, token, error);
    if (code == BW_UNAUTHORIZED)
        return bw_fail(error, code, "the cluster token is wrong");
    if (code == BW_OK)
        exchange->sender = (struct sender){
            .pool = MEMORY_CLIENT, .kind = CONNECTION_CLIENT, .token = TOKEN_OF_CLUSTER};
    return code;
}

/* Checks a client by the headers. Where clients need no token, a request with a valid one still
 * counts as a client's. */
static enum bw_code classic_admit(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    if (exchange->request.route->auth == AUTH_OPERATOR)
        return classic_admit_operator(api, exchange, error);
    if (exchange->request.route->auth != AUTH_CLIENT)
        return BW_OK; /* its credential is an argument */
    enum bw_code code = auth_client(api->auth, exchange, error);
    const char *name = code == BW_OK ? auth_client_token_name(api->auth, exchange) : NULL;
    if (name != NULL) {
        exchange->sender = (struct sender){
            .pool = MEMORY_CLIENT, .kind = CONNECTION_CLIENT, .token = TOKEN_OF_CLIENT};
        snprintf(exchange->sender.token_name, TOKEN_NAME_SIZE, "%s", name);
    }
    return code;
}

/* ---- Finding the worker in the query and the body ---- */

/* The text after the next "worker_id" in a query, form or JSON, if it is long enough for an id;
 * else NULL. Advances *text. */
static const char *classic_find_worker_id(const char **text, const char *end)
{
    static const char name[] = "worker_id", between[] = "\":= \t\r\n";
    const char *at = memmem(*text, (size_t)(end - *text), name, sizeof name - 1);
    if (at == NULL) {
        *text = end;
        return NULL;
    }
    at += sizeof name - 1;
    while (at < end && *at != '\0' && strchr(between, *at) != NULL)
        at++;
    *text = at;
    return end - at >= WORKER_ID_LENGTH ? at : NULL;
}

/* Whether the text names a worker that is in the cache; its id goes to exchange->worker. */
static bool classic_names_worker(struct exchange *exchange, const char *text, size_t length)
{
    const char *end = text + length;
    while (text < end) {
        const char *found = classic_find_worker_id(&text, end);
        if (found == NULL)
            continue;
        snprintf(exchange->worker, sizeof exchange->worker, "%.*s", WORKER_ID_LENGTH, found);
        if (is_hex_id(exchange->worker, WORKER_ID_LENGTH) &&
            worker_cache_has(exchange->host->api->workers[PROTOCOL_CLASSIC], exchange->worker))
            return true;
    }
    return false;
}

/* The name may begin in the bytes that were searched before. */
static bool classic_knows_worker(struct exchange *exchange, size_t searched)
{
    const struct request *request = &exchange->request;
    size_t start = searched > LONGEST_PAIR ? searched - LONGEST_PAIR : 0;
    if (request->route->auth != AUTH_WORKER)
        return false;
    if (request->body_length == 0 || request->route->body == BODY_BYTES)
        return classic_names_worker(exchange, request->query, strlen(request->query));
    return classic_names_worker(exchange, request->body + start, request->body_length - start);
}

/* Looks for the worker in the next piece of a body, as JSON. Forms are not searched: their text may
 * contain the name in output that a student wrote. */
static bool classic_seek_worker(struct exchange *exchange, const char *piece, size_t length)
{
    struct json_seek *seek = exchange->sender_seek;
    if (seek == NULL) {
        seek = exchange->sender_seek = bw_alloc(sizeof *seek);
        json_seek_begin(seek, "worker_id");
    }
    json_seek_take(seek, piece, length);
    if (!seek->is_found || !is_hex_id(seek->string, WORKER_ID_LENGTH))
        return false;
    snprintf(exchange->worker, sizeof exchange->worker, "%s", seek->string);
    return true;
}

static enum bw_code classic_seek_sender(struct api *api, struct exchange *exchange,
                                        const char *piece, size_t length)
{
    bool is_named = piece == NULL
                        ? classic_result_query_worker(&exchange->request, exchange->worker)
                        : classic_seek_worker(exchange, piece, length);
    if (!is_named)
        return BW_NOT_FOUND;
    if (worker_cache_has(api->workers[PROTOCOL_CLASSIC], exchange->worker))
        return BW_OK;
    return database_is_unavailable(api->database) ? BW_UNAVAILABLE : BW_PENDING;
}

static void classic_sender_found(void *context, enum bw_code code, const struct bw_error *error)
{
    (void)error;
    dispatch_sender_found(context, code);
}

static void classic_find_sender(struct api *api, struct exchange *exchange)
{
    worker_lookup_ask(api->worker_lookups[PROTOCOL_CLASSIC], exchange->worker, classic_sender_found,
                      exchange);
}

static enum bw_code classic_refuse_sender(const struct exchange *exchange, struct bw_error *error)
{
    return worker_cache_refuse_unknown(exchange->worker, error);
}

/* The sender of a result: a worker in the cache that the query or the body names. */
static const char *classic_result_sender(const struct exchange *exchange)
{
    return exchange->is_known ? exchange->worker : NULL;
}

static bool classic_is_sender_seen(struct api *api, const struct exchange *exchange)
{
    return delivery_table_has(api->hand_outs, exchange->request.path_id, exchange->worker);
}

/* ---- Checks of the arguments ---- */

static enum bw_code classic_check_worker(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    const char *worker = classic_argument(exchange, "worker_id");
    char shown[SHOWN_SIZE];
    if (worker == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "argument 'worker_id' is missing");
    if (!is_hex_id(worker, WORKER_ID_LENGTH))
        return bw_fail(error, BW_BAD_REQUEST, "worker '%s' is not known: register first",
                       text_show(worker, shown, sizeof shown));
    if (worker_cache_has(api->workers[PROTOCOL_CLASSIC], worker))
        exchange_prove_worker(exchange, worker);
    else if (!database_is_unavailable(api->database))
        return BW_PENDING;
    return BW_OK;
}

static enum bw_code classic_check(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    enum auth auth = exchange->request.route->auth;
    if (auth == AUTH_WORKER)
        return classic_check_worker(api, exchange, error);
    if (auth != AUTH_CLUSTER)
        return BW_OK;
    enum bw_code code = auth_cluster(api->auth, exchange, classic_argument(exchange, "token"),
                                     error);
    if (code == BW_OK)
        exchange_prove(exchange, CONNECTION_WORKER);
    return code;
}

static void classic_worker_found(void *context, enum bw_code code, const struct bw_error *error)
{
    struct exchange *exchange = context;
    if (code == BW_OK)
        exchange_prove_worker(exchange, classic_argument(exchange, "worker_id"));
    dispatch_worker_found(exchange, code, error, false);
}

static void classic_find_worker(struct api *api, struct exchange *exchange)
{
    worker_lookup_ask(api->worker_lookups[PROTOCOL_CLASSIC],
                      classic_argument(exchange, "worker_id"), classic_worker_found, exchange);
}

static enum bw_code classic_make_job(const struct definition *definition,
                                     const struct job_hand_out *job, char **payload,
                                     struct bw_error *error)
{
    enum bw_code code = definition_job_payload(definition, &job->id, job->attempt, payload, error);
    if (code == BW_OK)
        *payload = job_files_add(*payload, 1, job->files);
    if (code == BW_OK)
        *payload = job_files_add_image_digests(*payload, 1, job->image_digests);
    if (code == BW_OK)
        *payload = job_files_add_traceparent(*payload, 1, job->traceparent);
    return code;
}

const struct wire_protocol classic_protocol = {
    .routes = classic_routes,
    .has_workers_in_arguments = true,
    .admit = classic_admit,
    .knows_worker = classic_knows_worker,
    .result_sender = classic_result_sender,
    .is_sender_seen = classic_is_sender_seen,
    .seek_sender = classic_seek_sender,
    .find_sender = classic_find_sender,
    .refuse_sender = classic_refuse_sender,
    .check = classic_check,
    .find_worker = classic_find_worker,
    .results = &classic_result_form,
    .make_job = classic_make_job,
};
