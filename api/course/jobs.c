#include "api/course/jobs.h"

#include <stdlib.h>

#include "api/course/client.h"
#include "api/course/envelope.h"
#include "api/course/status.h"
#include "api/grading/job_detail.h"
#include "api/grading/job_list.h"
#include "api/grading/run_receipts.h"
#include "api/grading/job_log_request.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"

enum bw_code course_jobs_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    return job_list_send(api, exchange, &run, COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER, error);
}

enum bw_code course_jobs_receipts(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum run_phase phase;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    code = run_receipts_send(api, exchange, &run, COURSE_SUCCESS_BEFORE, COURSE_SUCCESS_AFTER,
                             &phase, error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "grading run with the given ID not found");
    if (code == BW_CONFLICT)
        return bw_fail(error, BW_CONFLICT, "the run has not ended: %s", course_run_state(phase));
    return code;
}

enum bw_code course_jobs_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct job_detail_request detail = {.before = COURSE_SUCCESS_BEFORE,
                                        .after = COURSE_SUCCESS_AFTER};
    struct run run;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run,
                                        &detail.slot, error);
    if (code != BW_OK)
        return code;
    char *logs = bw_format("/api/v1/grading_job_log/%s/%s", request->parts[0], request->parts[1]);
    char *log = bw_format("/api/v1/grading_job/%s/%s/log", request->parts[0], request->parts[1]);
    detail.logs = logs;
    detail.log = log;
    code = job_detail_send(api, exchange, &run, &detail, error);
    free(logs);
    free(log);
    return code;
}

enum bw_code course_jobs_log(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    uint32_t slot;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return job_log_send(api, exchange, request->parts[1], COURSE_SUCCESS_BEFORE,
                        COURSE_SUCCESS_AFTER, error);
}
