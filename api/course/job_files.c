#include "api/course/job_files.h"

#include "api/course/envelope.h"
#include "api/grading/job_file_request.h"
#include "api/http/exchange.h"

static struct job_file_request course_job_file_request(const struct exchange *exchange)
{
    const struct request *request = exchange_request(exchange);
    return (struct job_file_request){
        .job = request->parts[1], .worker = request->parts[0], .protocol = PROTOCOL_COURSE};
}

enum bw_code course_job_files_show(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct job_file_request request = course_job_file_request(exchange);
    return job_file_send(api, exchange, &request, exchange_request(exchange)->path_id, error);
}

enum bw_code course_job_files_store(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    json_t *stored;
    const struct job_file_request request = course_job_file_request(exchange);
    enum bw_code code = job_file_receive(api, exchange, &request, &stored, error);
    if (code == BW_OK)
        course_succeed(exchange, stored);
    return code;
}
