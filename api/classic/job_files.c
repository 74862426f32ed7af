#include "api/classic/job_files.h"

#include "api/grading/job_file_request.h"
#include "api/http/exchange.h"
#include "common/domain/file_entry.h"

const struct json_field classic_job_file_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = NULL},
};

const struct json_field classic_job_upload_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "digest", .kind = FIELD_STRING, .check = file_digest_check},
    {.name = NULL},
};

static struct job_file_request classic_job_file_request(const struct exchange *exchange)
{
    const struct request *request = exchange_request(exchange);
    return (struct job_file_request){
        .job = request->parts[0],
        .worker = json_string_value(json_object_get(request->arguments, "worker_id")),
        .protocol = PROTOCOL_CLASSIC,
    };
}

enum bw_code classic_job_files_show(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct job_file_request request = classic_job_file_request(exchange);
    return job_file_send(api, exchange, &request, exchange_request(exchange)->path_id, error);
}

enum bw_code classic_job_files_store(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    json_t *stored;
    const struct job_file_request request = classic_job_file_request(exchange);
    enum bw_code code = job_file_receive(api, exchange, &request, &stored, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, stored);
    return code;
}
