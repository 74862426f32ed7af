#include "api/classic/results.h"

#include "api/classic/client.h"
#include "api/grading/run_results.h"
#include "api/http/exchange.h"

enum bw_code classic_results_show(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    return code == BW_OK ? run_results_send(api, exchange, &run, "", "", error) : code;
}
