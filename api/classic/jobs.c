#include "api/classic/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/classic/client.h"
#include "api/grading/estimate_answer.h"
#include "api/grading/job_cancel.h"
#include "api/grading/job_detail.h"
#include "api/grading/job_list.h"
#include "api/grading/run_receipts.h"
#include "api/grading/job_log_request.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"
#include "common/base/json.h"
#include "common/store/run_jobs.h"

enum bw_code classic_jobs_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    return code == BW_OK ? job_list_send(api, exchange, &run, "", "", error) : code;
}

enum bw_code classic_jobs_receipts(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    struct run run;
    enum run_phase phase;
    char id[RUN_ID_SIZE];
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    if (code != BW_OK)
        return code;
    memcpy(id, run.id, sizeof id);
    code = run_receipts_send(api, exchange, &run, "", "", &phase, error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "there is no grading run '%s'", id);
    if (code != BW_CONFLICT)
        return code;
    exchange_refuse_with(exchange, code, error, "state", run_phase_name(phase));
    return BW_OK;
}

/* ---- One job ---- */

static enum bw_code classic_jobs_refuse(const char *id, struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "there is no grading job '%s'", id);
}

enum bw_code classic_jobs_read(struct api *api, const char *id, struct run *run, uint32_t *slot,
                               struct bw_error *error)
{
    struct job_id job;
    char shown[80];
    if (!is_hex_id(id, JOB_ID_LENGTH))
        return bw_fail(error, BW_BAD_REQUEST,
                       "'%s' is not the id of a grading job: 32 lower-case hex digits",
                       text_show(id, shown, sizeof shown));
    if (!job_id_parse(id, &job))
        return classic_jobs_refuse(id, error);
    enum bw_code code = run_store_read(api->run_store, job.run, run, error);
    if (code == BW_NOT_FOUND)
        return classic_jobs_refuse(id, error);
    if (code != BW_OK)
        return code;
    if (run->protocol == PROTOCOL_CLASSIC &&
        run_job_slot(run->has_pre, run->students, run->has_post, job.kind, job.index, slot))
        return BW_OK;
    run_clear(run);
    return classic_jobs_refuse(id, error);
}

enum bw_code classic_jobs_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const char *id = exchange_request(exchange)->path_id;
    struct job_detail_request detail = {.before = "", .after = ""};
    struct run run;
    enum bw_code code = classic_jobs_read(api, id, &run, &detail.slot, error);
    if (code != BW_OK)
        return code;
    char *log = bw_format("/api/v1/grading_job/%s/log", id);
    detail.log = log;
    code = job_detail_send(api, exchange, &run, &detail, error);
    free(log);
    return code;
}

enum bw_code classic_jobs_log(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const char *id = exchange_request(exchange)->parts[0];
    struct run run;
    uint32_t slot;
    enum bw_code code = classic_jobs_read(api, id, &run, &slot, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return job_log_send(api, exchange, id, "", "", error);
}

enum bw_code classic_jobs_estimate(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const char *id = exchange_request(exchange)->parts[0];
    struct run run;
    uint32_t slot;
    enum bw_code code = classic_jobs_read(api, id, &run, &slot, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return estimate_answer_ask(api, exchange, QUERY_ESTIMATE, id, exchange_answer_json);
}

static void classic_jobs_cancelled(struct exchange *exchange,
                                   const struct job_cancel_outcome *outcome)
{
    const char *state = outcome_name(outcome->outcome);
    if (outcome->code == BW_OK)
        exchange_answer_json(exchange,
                             json_pack("{s:s,s:s}", "job_id", outcome->job, "state", state));
    else if (outcome->code == BW_CONFLICT)
        exchange_refuse_with(exchange, BW_CONFLICT, &outcome->error, "state",
                             state != NULL ? state : run_phase_name(RUN_CREATED));
    else
        exchange_refuse(exchange, outcome->code, &outcome->error);
}

enum bw_code classic_jobs_cancel(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    struct run run;
    struct job_cancel_request request = {
        .run = &run, .exchange = exchange, .answer = classic_jobs_cancelled};
    enum bw_code code = classic_jobs_read(api, exchange_request(exchange)->parts[0], &run,
                                          &request.slot, error);
    if (code != BW_OK)
        return code;
    job_cancel_begin(api, &request);
    run_clear(&run);
    return BW_PENDING;
}
