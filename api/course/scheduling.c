#include "api/course/scheduling.h"

#include "api/course/envelope.h"
#include "api/grading/scheduling_settings.h"
#include "api/http/exchange.h"

enum bw_code course_scheduling_show(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    json_t *share;
    enum bw_code code = scheduling_settings_read_share(api, exchange_request(exchange)->parts[0],
                                                       &share, error);
    if (code == BW_OK)
        course_succeed(exchange, share);
    return code;
}
