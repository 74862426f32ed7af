#include "api/internal/hand_out_return.h"

#include <stdio.h>

#include "api/api.h"
#include "api/metrics.h"
#include "common/base/log.h"
#include "common/store/lease_store.h"
#include "common/store/worker_store.h"

static const char reason[] = "the job has files, and this grader registered without files=true";

static enum bw_code hand_out_return(struct api *api, const struct hand_out *hand_out,
                                    struct bw_error *error)
{
    bool is_ended;
    struct lease lease = {.attempt = hand_out->attempt};
    snprintf(lease.job, sizeof lease.job, "%s", hand_out->job);
    snprintf(lease.worker, sizeof lease.worker, "%s", hand_out->worker);
    snprintf(lease.reason, sizeof lease.reason, "%s", reason);
    enum bw_code code = lease_store_return(api->lease_store, &lease, &is_ended, error);
    if (code != BW_OK || !is_ended) /* not ended: by an earlier try of the same callback */
        return code;
    log_info("job returned in its grader's name", log_text("job_id", lease.job),
             log_number("attempt", lease.attempt), log_text("reason", reason));
    metric_add(api->metrics, API_RESULTS_RETURNED, 1);
    return BW_OK;
}

enum bw_code hand_out_return_unfit(struct api *api, const struct hand_out *hand_out,
                                   bool *is_returned, struct bw_error *error)
{
    struct worker worker = {.takes_files = true};
    enum bw_code code = worker_store_read(api->worker_store, hand_out->worker, &worker, error);
    if (code != BW_OK && code != BW_NOT_FOUND)
        return code;
    *is_returned = !worker.takes_files;
    return *is_returned ? hand_out_return(api, hand_out, error) : BW_OK;
}
