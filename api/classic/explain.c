#include "api/classic/explain.h"

#include "api/classic/client.h"
#include "api/classic/jobs.h"
#include "api/grading/explain.h"
#include "api/http/exchange.h"

enum bw_code classic_explain_run(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct explain_request request = {.exchange = exchange, .answer = exchange_answer_json};
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    return code == BW_OK ? explain_run(api, &request, &run) : explain_refuse(exchange, code, error);
}

enum bw_code classic_explain_job(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct explain_request request = {.exchange = exchange, .answer = exchange_answer_json};
    struct run run;
    uint32_t slot;
    enum bw_code code = classic_jobs_read(api, exchange_request(exchange)->parts[0], &run, &slot,
                                          error);
    return code == BW_OK ? explain_job(api, &request, &run, slot)
                         : explain_refuse(exchange, code, error);
}

enum bw_code classic_explain_worker(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct explain_request request = {.exchange = exchange, .answer = exchange_answer_json};
    const json_t *arguments = exchange_request(exchange)->arguments;
    (void)error;
    return explain_worker(api, &request,
                          json_string_value(json_object_get(arguments, "worker_id")));
}
