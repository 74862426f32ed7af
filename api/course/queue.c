#include "api/course/queue.h"

#include <stdio.h>
#include <string.h>

#include "api/course/envelope.h"
#include "api/http/exchange.h"
#include "api/api.h"
#include "api/course/client.h"
#include "api/grading/estimate_answer.h"
#include "api/uplink/scheduler_queries.h"

static const struct bw_error nobody = {"no scheduler answered: try again"};

/* Sends a query for the exchange; `answered` answers the exchange. */
static enum bw_code course_queue_ask(struct api *api, struct exchange *exchange,
                                     enum query_kind kind, const char *subject,
                                     void (*answered)(enum bw_code, const struct query_answer *,
                                                      void *))
{
    struct query query = {.kind = kind,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = answered,
                          .context = exchange};
    snprintf(query.subject, sizeof query.subject, "%s", subject);
    scheduler_queries_ask(api->queries, &query);
    return BW_PENDING;
}

/* Answers with the scheduler's answer, unchanged. */
static void course_queue_pass_answer(enum bw_code code, const struct query_answer *answer,
                                     void *context)
{
    if (code != BW_OK)
        exchange_refuse(context, code, &nobody);
    else
        course_succeed_with_text(context, answer->text);
}

static void course_queue_answer_position(enum bw_code code, const struct query_answer *answer,
                                         void *context)
{
    struct bw_error error;
    if (code != BW_OK) {
        exchange_refuse(context, code, &nobody);
        return;
    }
    if (json_object_get(answer->value, "position") != NULL) {
        course_succeed_with_text(context, answer->text);
        return;
    }
    bool is_passed = json_is_true(json_object_get(answer->value, "passed"));
    code = bw_fail(&error, BW_BAD_REQUEST, "grading job with the given ID %s",
                   is_passed ? "has already passed through the queue" : "not found");
    exchange_refuse(context, code, &error);
}

enum bw_code course_queue_length(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    return course_queue_ask(api, exchange, QUERY_LENGTH, exchange_request(exchange)->parts[0],
                            course_queue_pass_answer);
}

enum bw_code course_queue_position(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    uint32_t slot;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return course_queue_ask(api, exchange, QUERY_POSITION, request->parts[1],
                            course_queue_answer_position);
}

enum bw_code course_queue_run_estimate(struct api *api, struct exchange *exchange,
                                       struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return estimate_answer_ask(api, exchange, QUERY_ESTIMATE, request->parts[1], course_succeed);
}

enum bw_code course_queue_job_estimate(struct api *api, struct exchange *exchange,
                                       struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    uint32_t slot;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return estimate_answer_ask(api, exchange, QUERY_ESTIMATE, request->parts[1], course_succeed);
}

enum bw_code course_queue_estimate(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    (void)error;
    return estimate_answer_ask(api, exchange, QUERY_ESTIMATE_COURSE,
                               exchange_request(exchange)->parts[0], course_succeed);
}

enum bw_code course_worker_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const char *scope = exchange_request(exchange)->parts[1];
    if (strcmp(scope, "all") != 0)
        return bw_fail(error, BW_NOT_FOUND, "scope %s has not been implemented yet", scope);
    return course_queue_ask(api, exchange, QUERY_WORKERS, "", course_queue_pass_answer);
}
