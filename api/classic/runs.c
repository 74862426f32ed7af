#include "api/classic/runs.h"

#include "api/classic/client.h"
#include "api/grading/definition_answer.h"
#include "api/grading/estimate_answer.h"
#include "api/grading/run_list.h"
#include "api/http/exchange.h"

enum bw_code classic_runs_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return run_list_send(api, exchange, "", NULL, "", "", error);
}

enum bw_code classic_runs_definition(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    return code == BW_OK ? definition_answer_send(api, exchange, &run, "", "", error) : code;
}

enum bw_code classic_runs_estimate(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return estimate_answer_ask(api, exchange, QUERY_ESTIMATE, run.id, exchange_answer_json);
}
