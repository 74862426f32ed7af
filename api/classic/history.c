#include "api/classic/history.h"

#include "api/grading/history_answer.h"
#include "api/http/exchange.h"

enum bw_code classic_history(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    json_t *answer;
    enum bw_code code = history_answer_read(api, exchange, NULL, &answer, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, answer);
    return code;
}
