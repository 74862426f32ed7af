#include "api/grading/result_refusal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/delivery_table.h"
#include "api/http/exchange_internal.h"
#include "api/http/route.h"
#include "api/grading/result_submission.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/base/json_seek.h"

enum { DISCARD_LIMITS = 4 }; /* at most so many times the limit of a body is read */

/* A refusal, until the failure of its job is stored. */
struct result_refusal {
    struct exchange *exchange;
    enum bw_code code;
    struct bw_error error;
};

static const struct result_form *result_form_of(const struct exchange *exchange)
{
    return exchange_request(exchange)->protocol->results;
}

/* ---- The answer ---- */

static void result_refusal_completed(enum bw_code code, const struct bw_error *error, void *context)
{
    struct result_refusal *refusal = context;
    struct exchange *exchange = refusal->exchange;
    struct result_refusal own = *refusal;
    free(refusal);
    const struct result_form *form = result_form_of(exchange);
    if (code == BW_UNAVAILABLE) /* not stored: the grader is to send it again */
        exchange_refuse(exchange, code, error);
    else if (code == BW_OK && own.code == BW_TOO_LARGE && form->accept_large != NULL)
        form->accept_large(exchange);
    else
        exchange_refuse(exchange, own.code, &own.error);
}

void result_refuse(struct api *api, struct exchange *exchange, enum bw_code code,
                   const struct bw_error *error)
{
    char worker[WORKER_ID_SIZE] = "", job[JOB_ID_SIZE] = "";
    struct bw_error unused;
    bool is_theirs = code == BW_BAD_REQUEST || code == BW_BAD_BODY || code == BW_TOO_LARGE;
    if (!is_theirs || !result_form_of(exchange)->find(exchange, worker, job)) {
        exchange_refuse(exchange, code, error);
        return;
    }
    struct result_refusal *refusal = bw_alloc(sizeof *refusal);
    *refusal = (struct result_refusal){exchange, code, *error};
    struct result_submission_request submitted = {.job = job,
                                                  .worker = worker,
                                                  .refused = code,
                                                  .refusal = &refusal->error,
                                                  .completed = result_refusal_completed,
                                                  .context = refusal};
    code = result_submission_begin(api, &submitted, &unused);
    if (code != BW_OK)
        result_refusal_completed(BW_NOT_FOUND, &unused, refusal);
}

/* Whether a result without a token is likely to come from a grader. Any replica may have to decide
 * that, not only the one that handed out the job. */
static bool result_refusal_is_likely(struct api *api, const struct exchange *exchange)
{
    const struct request *request = exchange_request(exchange);
    char worker[WORKER_ID_SIZE];
    return result_form_of(exchange)->names_worker(exchange) ||
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
    const struct result_form *form = result_form_of(exchange);
    bool is_beyond = result_refusal_is_beyond(length, limit);
    if (request->body_length == 0 && is_beyond && form->names_worker != NULL)
        return !form->names_worker(exchange);
    if (request->body_length < RESULT_PREFIX_BYTES)
        return true;
    return !is_beyond && (form->names_worker == NULL || result_refusal_is_likely(api, exchange));
}

/* Only JSON is searched: in a form, the key may occur in output that a student wrote. */
void result_refusal_seek(struct exchange *exchange, const char *piece, size_t length)
{
    struct request *request = &exchange->request;
    if (exchange->seek == NULL) {
        exchange->seek = bw_alloc(sizeof *exchange->seek);
        json_seek_begin(exchange->seek, result_form_of(exchange)->key);
    }
    json_seek_take(exchange->seek, piece, length);
    if (exchange->seek->is_found)
        request->late_id = exchange->seek->string;
}
