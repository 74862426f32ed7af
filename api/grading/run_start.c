#include "api/grading/run_start.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/run_creation.h"
#include "api/http/exchange.h"
#include "api/http/thread_pool.h"
#include "common/base/alloc.h"

/* A run that is stored and is to be started. */
struct start {
    struct api *api;
    struct exchange *exchange;
    char run[RUN_ID_SIZE], rerun_of[RUN_ID_SIZE];
    enum run_phase first;
    run_started *started;
};

static void run_start_now(void *argument)
{
    struct start start = *(struct start *)argument;
    struct run_store *store = start.api->run_store;
    struct bw_error error;
    enum bw_code code = BW_OK;
    free(argument);
    if (start.rerun_of[0] != '\0')
        code = run_store_add_rerun(store, start.rerun_of, start.run, &error);
    if (code == BW_OK)
        code = run_store_start(store, start.run, start.first, &error);
    if (code == BW_OK || code == BW_CONFLICT) /* an earlier try of the same request started it */
        start.started(start.exchange, start.run);
    else
        exchange_refuse(start.exchange, code, &error);
}

static const struct bw_error run_start_busy = {"this server is stopping: try again"};

static void run_start_refuse(void *argument)
{
    struct start *start = argument;
    exchange_refuse(start->exchange, BW_UNAVAILABLE, &run_start_busy);
    free(start);
}

/* Not urgent: while the database fails its writes it is tried for ten seconds, on its thread. The
 * run is stored already, so it waits for a place rather than be left without a start. */
void run_start(struct api *api, struct exchange *exchange, const struct run *run,
               run_started *started)
{
    struct start *start = bw_alloc(sizeof *start);
    start->api = api;
    start->exchange = exchange;
    start->started = started;
    start->first = run_first_phase(run);
    memcpy(start->run, run->id, sizeof start->run);
    memcpy(start->rerun_of, run->rerun_of, sizeof start->rerun_of);
    thread_pool_submit_or_wait(api->thread_pool, run_start_now, run_start_refuse, start);
}
