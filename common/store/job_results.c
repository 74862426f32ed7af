#include "common/store/job_results.h"

#include <stdlib.h>

#include "common/base/alloc.h"

enum { CHUNK = 1000 }; /* jobs that are read at once */

static void job_results_take(const struct result *result, void *context)
{
    const struct job_results *reader = context;
    uint32_t slot;
    if (run_job_id_slot(reader->run, result->job, &slot))
        reader->take(slot, result, reader->context);
}

static uint32_t chunk_size(uint32_t rest)
{
    return rest < CHUNK ? rest : CHUNK;
}

enum bw_code job_results_read(const struct job_results *reader, const struct slot_list *slots,
                              struct bw_error *error)
{
    struct job_results borrowed = *reader; /* the store's context is not const */
    char(*ids)[JOB_ID_SIZE] = bw_alloc_array(chunk_size(slots->count), sizeof *ids);
    enum bw_code code = BW_OK;
    for (uint32_t at = 0; at < slots->count && code == BW_OK; at += CHUNK) {
        uint32_t count = chunk_size(slots->count - at);
        for (uint32_t i = 0; i < count; i++)
            run_slot_job_id(reader->run, slots->items[at + i], ids[i]);
        code = result_store_read(reader->store, (const char(*)[JOB_ID_SIZE])ids, count,
                                 reader->with_text, job_results_take, &borrowed, error);
    }
    free(ids);
    return code;
}
