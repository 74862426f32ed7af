#include "api/grading/poll.h"

#include "api/api.h"
#include "api/metrics.h"
#include "api/http/thread_pool.h"
#include "api/options.h"
#include "api/grading/poll_table.h"

enum { SHED_MS = 1000 };

static void answer_shed(void *exchange)
{
    exchange_refuse(exchange, BW_NO_JOB, NULL);
}

/* So many polls wait that heartbeats and results must be kept room for: this one is held for a
 * moment, so that its grader does not spin, and answered empty. */
static bool shed(struct api *api, struct exchange *exchange, int64_t wait_ms)
{
    size_t most = (size_t)api->options->max_connections / 4 * 3;
    if (poll_table_count(api->polls) < most)
        return false;
    metric_add(api->metrics, API_POLLS_SHED, 1);
    if (!thread_pool_submit_later(api->thread_pool, false, wait_ms < SHED_MS ? wait_ms : SHED_MS,
                                  answer_shed, exchange))
        answer_shed(exchange);
    return true;
}

enum bw_code poll_begin(struct api *api, struct exchange *exchange, const char *worker,
                        int64_t wait_ms)
{
    if (atomic_load(&api->is_draining))
        return BW_NO_JOB;
    if (!shed(api, exchange, wait_ms))
        poll_table_park(api->polls, exchange, worker, wait_ms);
    return BW_PENDING;
}
