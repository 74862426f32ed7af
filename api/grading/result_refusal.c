#include "api/grading/result_refusal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/form.h"
#include "api/grading/delivery_table.h"
#include "api/http/exchange_internal.h"
#include "api/http/route.h"
#include "api/grading/result_submission.h"
#include "common/base/failpoint.h"
#include "common/base/json.h"
#include "common/base/json_mend.h"
#include "common/base/json_seek.h"

enum { DISCARD_LIMITS = 4 }; /* how many times the limit of a body is read at most */

/* A refusal on its way. */
struct result_refusal {
    struct exchange *exchange;
    enum bw_code code;
    struct bw_error error;
};

/* ---- Whose is it? ---- */

static enum bw_code result_refusal_take_worker(const char *name, const char *value, void *context,
                                               struct bw_error *error)
{
    (void)error;
    char *worker = context;
    if (strcmp(name, "worker_id") == 0)
        snprintf(worker, WORKER_ID_SIZE, "%s", value);
    return BW_OK;
}

/* A form, of which the end may be missing. */
static void result_refusal_search_form(const char *text, size_t length, char *worker)
{
    struct bw_error unused;
    struct json_mend_report ignored = {{0}};
    enum bw_code code = form_read_urlencoded(text, length, "", result_refusal_take_worker, worker,
                                             &ignored, &unused);
    if (code != BW_OK)
        worker[0] = '\0';
}

/* The worker as the classic protocol has it: in the query or in the body. */
static bool result_refusal_find_worker(const struct request *request, char *worker)
{
    size_t length = request->body_length < RESULT_PREFIX_BYTES ? request->body_length
                                                               : RESULT_PREFIX_BYTES;
    result_refusal_search_form(request->query, strlen(request->query), worker);
    if (worker[0] == '\0')
        (void)!json_find_text(request->body, length, "worker_id", 0, worker, WORKER_ID_SIZE);
    if (worker[0] == '\0')
        result_refusal_search_form(request->body, length, worker);
    if (worker[0] == '\0' && request->late_id != NULL)
        snprintf(worker, WORKER_ID_SIZE, "%s", request->late_id);
    return is_hex_id(worker, WORKER_ID_LENGTH);
}

/* False: it can't be told who sent it, or for which job. */
static bool result_refusal_find(const struct request *request, char *worker, char *job)
{
    if (!route_is_course(request->route)) {
        snprintf(job, JOB_ID_SIZE, "%s", request->path_id);
        return is_hex_id(request->path_id, JOB_ID_LENGTH) &&
               result_refusal_find_worker(request, worker);
    }
    snprintf(worker, WORKER_ID_SIZE, "%s", request->parts[0]);
    bool is_found = json_find_text(request->body, request->body_length, "grading_job_id", 0, job,
                                   JOB_ID_SIZE);
    if (!is_found && request->late_id != NULL)
        snprintf(job, JOB_ID_SIZE, "%s", request->late_id);
    return is_hex_id(job, JOB_ID_LENGTH);
}

/* ---- The answer ---- */

static void result_refusal_settled(enum bw_code code, const struct bw_error *error, void *context)
{
    struct result_refusal *refusal = context;
    struct exchange *exchange = refusal->exchange;
    struct result_refusal own = *refusal;
    free(refusal);
    bool is_course = route_is_course(exchange_request(exchange)->route);
    if (code == BW_UNAVAILABLE) /* not on record: it is to be sent again */
        exchange_refuse(exchange, code, error);
    else if (code == BW_OK && own.code == BW_TOO_LARGE && is_course)
        exchange_succeed(exchange, json_null());
    else
        exchange_refuse(exchange, own.code, &own.error);
}

void result_refuse(struct api *api, struct exchange *exchange, enum bw_code code,
                   const struct bw_error *error)
{
    char worker[WORKER_ID_SIZE] = "", job[JOB_ID_SIZE] = "";
    struct bw_error unused;
    bool is_theirs = code == BW_BAD_REQUEST || code == BW_BAD_BODY || code == BW_TOO_LARGE;
    struct result_refusal *refusal = NULL;
    is_theirs = is_theirs && !MUTANT("refusal_fails_nothing");
    if (is_theirs && result_refusal_find(exchange_request(exchange), worker, job))
        refusal = calloc(1, sizeof *refusal);
    if (refusal == NULL) {
        exchange_refuse(exchange, code, error);
        return;
    }
    *refusal = (struct result_refusal){exchange, code, *error};
    struct result_submission_request submitted = {.job = job,
                                                  .worker = worker,
                                                  .refused = code,
                                                  .refusal = &refusal->error,
                                                  .settled = result_refusal_settled,
                                                  .context = refusal};
    code = result_submission_begin(api, &submitted, &unused);
    if (code != BW_OK)
        result_refusal_settled(BW_NOT_FOUND, &unused, refusal);
}

/* Without a token, is there reason to believe that a grader sends it? Any replica must find out,
 * not only the one that handed the job out. */
static bool result_refusal_is_likely(struct api *api, const struct request *request)
{
    char worker[WORKER_ID_SIZE] = "";
    return result_refusal_find_worker(request, worker) ||
           delivery_table_holder(api->hand_outs, request->path_id, worker);
}

bool result_refusal_is_beyond(uint64_t length, uint64_t limit)
{
    return length > DISCARD_LIMITS * limit;
}

bool result_refusal_reads(struct api *api, const struct exchange *exchange, uint64_t length,
                          uint64_t limit)
{
    const struct request *request = exchange_request(exchange);
    char worker[WORKER_ID_SIZE] = "";
    if (request->route == NULL || (request->route->flags & ROUTE_LIFE) == 0)
        return false;
    bool is_course = route_is_course(request->route),
         is_beyond = result_refusal_is_beyond(length, limit);
    if (request->body_length == 0 && is_beyond && !is_course)
        return !result_refusal_find_worker(request, worker);
    if (request->body_length < RESULT_PREFIX_BYTES)
        return true;
    return !is_beyond && (is_course || result_refusal_is_likely(api, request));
}

/* Is it a JSON object? In a form the same text may stand in what a student wrote. */
static bool result_refusal_is_object(const char *piece, size_t length)
{
    size_t at = 0;
    while (at < length && memchr(" \t\r\n", piece[at], 4) != NULL)
        at++;
    return at < length && piece[at] == '{';
}

enum bw_code result_refusal_seek(struct exchange *exchange, const char *piece, size_t length,
                                 struct bw_error *error)
{
    struct request *request = &exchange->request;
    if (exchange->seek == NULL) {
        exchange->seek = malloc(sizeof *exchange->seek);
        if (exchange->seek == NULL)
            return bw_fail(error, BW_INTERNAL, "memory is short");
        json_seek_begin(exchange->seek,
                        route_is_course(request->route) ? "grading_job_id" : "worker_id");
        exchange->seek->is_over = !result_refusal_is_object(piece, length);
    }
    json_seek_take(exchange->seek, piece, length);
    if (exchange->seek->is_found)
        request->late_id = exchange->seek->string;
    return BW_OK;
}
