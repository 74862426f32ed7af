#include "api/grading/worker_fault.h"

#include <stdlib.h>

#include "api/api.h"
#include "api/http/thread_pool.h"
#include "common/base/alloc.h"
#include "common/store/worker_store.h"

struct task {
    struct api *api;
    struct worker_fault said;
};

static void worker_fault_write(void *argument)
{
    struct task *task = argument;
    const struct worker_fault *said = &task->said;
    struct bw_error error;
    enum bw_code code = worker_store_note_fault(task->api->worker_store, said->worker, said->epoch,
                                                said->fault, &error);
    said->completed(code, code == BW_OK ? NULL : &error, said->context);
    free(task);
}

static void worker_fault_give_up(void *argument)
{
    struct task *task = argument;
    struct bw_error error;
    enum bw_code code = bw_fail(&error, BW_UNAVAILABLE, "the server is stopping");
    task->said.completed(code, &error, task->said.context);
    free(task);
}

void worker_fault_store(struct api *api, const struct worker_fault *said)
{
    struct task *task = bw_alloc(sizeof *task);
    *task = (struct task){.api = api, .said = *said};
    thread_pool_submit_or_wait(api->thread_pool, worker_fault_write, worker_fault_give_up, task);
}
