#include "api/course/log_chunks.h"

#include "api/course/envelope.h"
#include "api/grading/log_chunk_request.h"
#include "api/http/exchange.h"

const struct json_field course_log_chunk_fields[] = {
    {.name = "stream", .kind = FIELD_STRING, .is_required = true, .check = log_stream_check},
    {.name = "offset", .kind = FIELD_INTEGER, .is_required = true, .maximum = LOG_OFFSET_MAX},
    {.name = NULL},
};

enum bw_code course_log_chunks_store(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const json_t *arguments = request->arguments;
    const struct log_chunk_request sent = {
        .job = request->parts[1],
        .worker = request->parts[0],
        .stream = json_string_value(json_object_get(arguments, "stream")),
        .protocol = PROTOCOL_COURSE,
        .chunk = {.offset = json_integer_value(json_object_get(arguments, "offset")),
                  .bytes = request->body,
                  .length = request->body_length},
    };
    int64_t size;
    enum bw_code code = log_chunk_receive(api, &sent, &size, error);
    if (code == BW_OK)
        course_succeed(exchange, json_pack("{s:I}", "size", (json_int_t)size));
    return code;
}
