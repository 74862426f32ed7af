#include "api/course/files.h"

#include "api/course/envelope.h"
#include "api/grading/file_transfer.h"
#include "api/http/exchange.h"

enum bw_code course_files_store(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    json_t *stored;
    const char *course = exchange_request(exchange)->parts[0];
    enum bw_code code = file_transfer_receive(api, exchange, course, &stored, error);
    if (code == BW_OK)
        course_succeed(exchange, stored);
    return code;
}

enum bw_code course_files_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    return file_transfer_send(api, exchange, request->parts[0], request->path_id, error);
}
