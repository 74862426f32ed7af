#include "api/classic/audit.h"

#include "api/grading/audit_list.h"
#include "api/http/exchange.h"

enum bw_code classic_audit_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    json_t *page;
    enum bw_code code = audit_list_read(api, exchange, NULL, &page, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, page);
    return code;
}
