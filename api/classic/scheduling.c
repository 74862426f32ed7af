#include "api/classic/scheduling.h"

#include "api/grading/scheduling_settings.h"
#include "api/http/exchange.h"

static struct scheduling_request classic_scheduling_request(struct exchange *exchange)
{
    const struct request *request = exchange_request(exchange);
    return (struct scheduling_request){.name = request->parts[0],
                                       .by = "cluster",
                                       .arguments = request->arguments,
                                       .exchange = exchange,
                                       .answer = exchange_answer_json};
}

enum bw_code classic_scheduling_show(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    json_t *answer;
    enum bw_code code = scheduling_settings_read(api, &answer, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, answer);
    return code;
}

enum bw_code classic_scheduling_put_share(struct api *api, struct exchange *exchange,
                                          struct bw_error *error)
{
    const struct scheduling_request request = classic_scheduling_request(exchange);
    return scheduling_settings_put_share(api, &request, error);
}

enum bw_code classic_scheduling_delete_share(struct api *api, struct exchange *exchange,
                                             struct bw_error *error)
{
    const struct scheduling_request request = classic_scheduling_request(exchange);
    return scheduling_settings_delete_share(api, &request, error);
}

enum bw_code classic_scheduling_put_reservation(struct api *api, struct exchange *exchange,
                                                struct bw_error *error)
{
    const struct scheduling_request request = classic_scheduling_request(exchange);
    return scheduling_settings_put_reservation(api, &request, error);
}

enum bw_code classic_scheduling_delete_reservation(struct api *api, struct exchange *exchange,
                                                   struct bw_error *error)
{
    const struct scheduling_request request = classic_scheduling_request(exchange);
    return scheduling_settings_delete_reservation(api, &request, error);
}
