#include "api/course/explain.h"

#include "api/course/client.h"
#include "api/course/envelope.h"
#include "api/grading/explain.h"
#include "api/http/exchange.h"

/* A request with the token of the course in its path. */
static struct explain_request course_explain_request(struct exchange *exchange)
{
    return (struct explain_request){.exchange = exchange,
                                    .course = exchange_request(exchange)->parts[0],
                                    .answer = course_succeed};
}

enum bw_code course_explain_run(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct explain_request explained = course_explain_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    return code == BW_OK ? explain_run(api, &explained, &run)
                         : explain_refuse(exchange, code, error);
}

enum bw_code course_explain_job(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct explain_request explained = course_explain_request(exchange);
    struct run run;
    uint32_t slot;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    return code == BW_OK ? explain_job(api, &explained, &run, slot)
                         : explain_refuse(exchange, code, error);
}

enum bw_code course_explain_worker(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct explain_request explained = {.exchange = exchange, .answer = course_succeed};
    (void)error;
    return explain_worker(api, &explained, exchange_request(exchange)->parts[0]);
}
