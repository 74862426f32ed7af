#include "api/course/webhooks.h"

#include "api/course/client.h"
#include "api/course/envelope.h"
#include "api/grading/webhooks.h"
#include "api/http/exchange.h"

static enum bw_code course_webhooks_answer(struct exchange *exchange, enum bw_code code,
                                           json_t *answer)
{
    if (code == BW_OK)
        course_succeed(exchange, answer);
    return code;
}

enum bw_code course_webhooks_create(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    json_t *answer = NULL;
    enum bw_code code = webhooks_create(api, request->parts[0], request->arguments, &answer, error);
    return course_webhooks_answer(exchange, code, answer);
}

enum bw_code course_webhooks_list(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    json_t *answer = NULL;
    enum bw_code code = webhooks_list(api, exchange_request(exchange)->parts[0], "", &answer,
                                      error);
    return course_webhooks_answer(exchange, code, answer);
}

enum bw_code course_webhooks_delete(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    enum bw_code code = webhooks_delete(api, request->parts[0], request->parts[1], error);
    return code == BW_OK ? course_webhooks_answer(exchange, code, json_null()) : code;
}

enum bw_code course_webhooks_deliveries(struct api *api, struct exchange *exchange,
                                        struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    json_t *answer = NULL;
    enum bw_code code = webhooks_list_deliveries(api, request->parts[0], request->parts[1],
                                                 request->arguments, &answer, error);
    return course_webhooks_answer(exchange, code, answer);
}

enum bw_code course_webhooks_redeliver(struct api *api, struct exchange *exchange,
                                       struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    enum bw_code code = webhooks_redeliver(api, request->parts[0], request->parts[1],
                                           request->arguments, error);
    return code == BW_OK ? course_webhooks_answer(exchange, code, json_null()) : code;
}

enum bw_code course_webhooks_of_run(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    json_t *answer = NULL;
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    code = webhooks_list(api, "", run.id, &answer, error);
    run_clear(&run);
    return course_webhooks_answer(exchange, code, answer);
}
