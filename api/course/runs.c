#include "api/course/runs.h"

#include "api/course/client.h"
#include "api/course/envelope.h"
#include "api/grading/definition_answer.h"
#include "api/grading/run_list.h"
#include "api/grading/status_answer.h"
#include "api/http/exchange.h"

static enum bw_code course_runs_send(struct api *api, struct exchange *exchange,
                                     const char *assignment, struct bw_error *error)
{
    return run_list_send(api, exchange, exchange_request(exchange)->parts[0], assignment,
                         COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER, error);
}

enum bw_code course_runs_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return course_runs_send(api, exchange, NULL, error);
}

enum bw_code course_runs_list_assignment(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    return course_runs_send(api, exchange, exchange_request(exchange)->parts[1], error);
}

enum bw_code course_runs_definition(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    return definition_answer_send(api, exchange, &run, COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER,
                                  error);
}

enum bw_code course_runs_status(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    return status_answer_send(api, exchange, &run, COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER,
                              error);
}
