#include "api/course/audit.h"

#include "api/course/envelope.h"
#include "api/grading/audit_list.h"
#include "api/http/exchange.h"

enum bw_code course_audit_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    json_t *page;
    enum bw_code code = audit_list_read(api, exchange, exchange_request(exchange)->parts[0], &page,
                                        error);
    if (code == BW_OK)
        course_succeed(exchange, page);
    return code;
}
