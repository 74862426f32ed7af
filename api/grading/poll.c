#include "api/grading/poll.h"

#include "api/api.h"
#include "api/metrics.h"
#include "api/http/thread_pool.h"
#include "api/options.h"
#include "api/grading/poll_table.h"

enum { SHED_MS = 1000 };

static void poll_answer_shed(void *exchange)
{
    exchange_refuse(exchange, BW_NO_JOB, NULL);
}

/* Sheds a poll if so many are parked that heartbeats and results need the remaining connections:
 * the poll is held for a moment, so that its grader does not spin, and answered empty. False: there
 * is room. */
static bool poll_shed(struct api *api, struct exchange *exchange, int64_t wait_ms)
{
    size_t most = (size_t)api->options->max_connections / 4 * 3;
    if (poll_table_count(api->polls) < most)
        return false;
    metric_add(api->metrics, API_POLLS_SHED, 1);
    if (!thread_pool_submit_later(api->thread_pool, false, wait_ms < SHED_MS ? wait_ms : SHED_MS,
                                  poll_answer_shed, exchange))
        poll_answer_shed(exchange);
    return true;
}

enum bw_code poll_begin(struct api *api, struct exchange *exchange, const char *worker,
                        int64_t wait_ms)
{
    if (atomic_load(&api->is_draining))
        return BW_NO_JOB;
    if (!poll_shed(api, exchange, wait_ms))
        poll_table_park(api->polls, exchange, worker, wait_ms);
    return BW_PENDING;
}
