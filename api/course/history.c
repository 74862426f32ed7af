#include "api/course/history.h"

#include "api/course/envelope.h"
#include "api/grading/history_answer.h"
#include "api/http/exchange.h"

enum bw_code course_history(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    json_t *answer;
    enum bw_code code = history_answer_read(api, exchange, exchange_request(exchange)->parts[0],
                                            &answer, error);
    if (code == BW_OK)
        course_succeed(exchange, answer);
    return code;
}
