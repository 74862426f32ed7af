/*
 * classic/result: the endpoint for a grader's result of a job, in the classic protocol: a JSON
 * object, or a form. It answers later, from any thread. Called by dispatch alone, see
 * api/http/route.h.
 */
#ifndef API_CLASSIC_RESULT_H
#define API_CLASSIC_RESULT_H

#include "api/http/exchange.h"
#include "api/http/route.h"

struct result_form;

extern const struct json_field classic_result_fields[];
extern const struct result_form classic_result_form; /* api/grading/result_refusal.h */

/* POST /api/v1/grading_job/{id} → {} */
enum bw_code classic_result_handle(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* Writes the worker that the query names. False: the query names none, or the text is not an id. */
bool classic_result_query_worker(const struct request *request, char worker[WORKER_ID_SIZE]);

#endif
