#include "api/course/results.h"

#include "api/course/client.h"
#include "api/course/envelope.h"
#include "api/grading/run_results.h"

enum bw_code course_results_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    return run_results_send(api, exchange, &run, COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER,
                            error);
}

enum bw_code course_results_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const char *assignment = request->parts[1][0] != '\0' ? request->parts[1] : NULL;
    return run_results_send_course(api, exchange, request->parts[0], assignment,
                                   COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER, error);
}
