#include "api/course/queue.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/course/client.h"
#include "api/uplink/scheduler_queries.h"

static const struct bw_error nobody = {"no scheduler answers: ask again"};

/* Asks for the exchange, which `answered` answers. */
static enum bw_code course_queue_ask(struct api *api, struct exchange *exchange,
                                     enum query_kind kind, const char *subject,
                                     void (*answered)(enum bw_code, const json_t *, void *))
{
    struct query query = {.kind = kind,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = answered,
                          .context = exchange};
    snprintf(query.subject, sizeof query.subject, "%s", subject);
    scheduler_queries_ask(api->queries, &query);
    return BW_PENDING;
}

/* The answer as it is. */
static void pass_on(enum bw_code code, const json_t *answer, void *context)
{
    if (code != BW_OK)
        exchange_refuse(context, code, &nobody);
    else
        exchange_succeed_with(context, answer);
}

static void answer_position(enum bw_code code, const json_t *answer, void *context)
{
    struct bw_error error;
    if (code != BW_OK) {
        exchange_refuse(context, code, &nobody);
        return;
    }
    if (json_object_get(answer, "position") != NULL) {
        exchange_succeed_with(context, answer);
        return;
    }
    bool is_passed = json_is_true(json_object_get(answer, "passed"));
    code = bw_fail(&error, BW_BAD_REQUEST, "grading job with the given ID %s",
                   is_passed ? "has already passed through the queue" : "not found");
    exchange_refuse(context, code, &error);
}

enum bw_code course_queue_length(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    return course_queue_ask(api, exchange, QUERY_LENGTH, exchange_request(exchange)->parts[0],
                            pass_on);
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
    return course_queue_ask(api, exchange, QUERY_POSITION, request->parts[1], answer_position);
}

enum bw_code course_worker_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const char *scope = exchange_request(exchange)->parts[1];
    if (strcmp(scope, "all") != 0)
        return bw_fail(error, BW_NOT_FOUND, "scope %s has not been implemented yet", scope);
    return course_queue_ask(api, exchange, QUERY_WORKERS, "", pass_on);
}
