#include "api/classic/files.h"

#include "api/grading/file_transfer.h"
#include "api/http/exchange.h"

enum bw_code classic_files_store(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    json_t *stored;
    enum bw_code code = file_transfer_receive(api, exchange, "", &stored, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, stored);
    return code;
}

enum bw_code classic_files_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    return file_transfer_send(api, exchange, "", exchange_request(exchange)->path_id, error);
}
