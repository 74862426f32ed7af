#include "api/classic/webhooks.h"

#include "api/classic/client.h"
#include "api/grading/webhooks.h"
#include "api/http/exchange.h"

static enum bw_code classic_webhooks_answer(struct exchange *exchange, enum bw_code code,
                                            json_t *answer)
{
    if (code == BW_OK)
        exchange_answer_json(exchange, answer);
    return code;
}

enum bw_code classic_webhooks_create(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    json_t *answer = NULL;
    enum bw_code code = webhooks_create(api, "", exchange_request(exchange)->arguments, &answer,
                                        error);
    return classic_webhooks_answer(exchange, code, answer);
}

enum bw_code classic_webhooks_list(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    json_t *answer = NULL;
    enum bw_code code = webhooks_list(api, "", "", &answer, error);
    return classic_webhooks_answer(exchange, code, answer);
}

enum bw_code classic_webhooks_delete(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    enum bw_code code = webhooks_delete(api, NULL, exchange_request(exchange)->parts[0], error);
    return code == BW_OK ? classic_webhooks_answer(exchange, code, json_object()) : code;
}

enum bw_code classic_webhooks_deliveries(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    json_t *answer = NULL;
    enum bw_code code = webhooks_list_deliveries(api, NULL, request->parts[0], request->arguments,
                                                 &answer, error);
    return classic_webhooks_answer(exchange, code, answer);
}

enum bw_code classic_webhooks_redeliver(struct api *api, struct exchange *exchange,
                                        struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    enum bw_code code = webhooks_redeliver(api, NULL, request->parts[0], request->arguments, error);
    return code == BW_OK ? classic_webhooks_answer(exchange, code, json_object()) : code;
}

enum bw_code classic_webhooks_of_run(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    json_t *answer = NULL;
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    if (code != BW_OK)
        return code;
    code = webhooks_list(api, "", run.id, &answer, error);
    run_clear(&run);
    return classic_webhooks_answer(exchange, code, answer);
}
