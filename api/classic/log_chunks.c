#include "api/classic/log_chunks.h"

#include "api/grading/log_chunk_request.h"
#include "api/http/exchange.h"

const struct json_field classic_log_chunk_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "stream", .kind = FIELD_STRING, .is_required = true, .check = log_stream_check},
    {.name = "offset", .kind = FIELD_INTEGER, .is_required = true, .maximum = LOG_OFFSET_MAX},
    {.name = NULL},
};

enum bw_code classic_log_chunks_store(struct api *api, struct exchange *exchange,
                                      struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const json_t *arguments = request->arguments;
    const struct log_chunk_request sent = {
        .job = request->parts[0],
        .worker = json_string_value(json_object_get(arguments, "worker_id")),
        .stream = json_string_value(json_object_get(arguments, "stream")),
        .protocol = PROTOCOL_CLASSIC,
        .chunk = {.offset = json_integer_value(json_object_get(arguments, "offset")),
                  .bytes = request->body,
                  .length = request->body_length},
    };
    int64_t size;
    enum bw_code code = log_chunk_receive(api, &sent, &size, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_pack("{s:I}", "size", (json_int_t)size));
    return code;
}
