#include "common/store/job_leases.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum {
    CHUNK = JOB_LEASES_CHUNK,
    WINDOW = 3,         /* further attempts that are read at once */
    PROBE_CHUNK = 1024, /* jobs of a probe that are read at once */
};

/* One read: some attempts of some jobs. */
struct chunk {
    const struct job_leases *reader;
    const uint32_t *slots;
    uint32_t count, found;
    uint32_t seen[CHUNK]; /* leases found of each job */
    bool is_live[CHUNK];  /* one of them is */
};

/* The slot's index in the chunk; `count`: it is not in the chunk. */
static uint32_t chunk_place(const struct chunk *chunk, uint32_t slot)
{
    uint32_t low = 0, high = chunk->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk->slots[middle] < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < chunk->count && chunk->slots[low] == slot ? low : chunk->count;
}

static void chunk_take(const struct lease *lease, void *context)
{
    struct chunk *chunk = context;
    uint32_t slot;
    if (!run_job_id_slot(chunk->reader->run, lease->job, &slot))
        return;
    uint32_t place = chunk_place(chunk, slot);
    if (place == chunk->count)
        return;
    chunk->seen[place]++;
    chunk->found++;
    chunk->is_live[place] = chunk->is_live[place] || lease->end == LEASE_LIVE;
    chunk->reader->take(slot, lease, chunk->reader->context);
}

/* Reads attempts first..first+window-1 of at most CHUNK jobs. */
static enum bw_code chunk_read(struct chunk *chunk, const struct job_leases *reader,
                               const uint32_t *slots, uint32_t count, uint32_t first,
                               uint32_t window, struct bw_error *error)
{
    char ids[CHUNK][JOB_ID_SIZE];
    memset(chunk, 0, sizeof *chunk);
    chunk->reader = reader;
    chunk->slots = slots;
    chunk->count = count;
    for (uint32_t i = 0; i < count; i++)
        run_slot_job_id(reader->run, slots[i], ids[i]);
    return lease_store_read(reader->store, (const char(*)[JOB_ID_SIZE])ids, count, first, window,
                            chunk_take, chunk, error);
}

static uint32_t chunk_size(uint32_t rest)
{
    return rest < CHUNK ? rest : CHUNK;
}

enum bw_code job_leases_read_first(const struct job_leases *reader, struct slot_list *slots,
                                   struct bw_error *error)
{
    struct chunk chunk;
    uint32_t kept = 0;
    for (uint32_t at = 0; at < slots->count; at += CHUNK) {
        enum bw_code code = chunk_read(&chunk, reader, slots->items + at,
                                       chunk_size(slots->count - at), 1, 1, error);
        if (code != BW_OK)
            return code;
        if (chunk.found == 0)
            break;
        for (uint32_t i = 0; i < chunk.count; i++)
            if (chunk.seen[i] > 0)
                slots->items[kept++] = slots->items[at + i];
    }
    slots->count = kept;
    return BW_OK;
}

/* Reduces `slots` to the jobs that may have attempts after `window`. */
static uint32_t chunk_keep_ended(const struct chunk *chunk, uint32_t *slots, uint32_t window)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < chunk->count; i++)
        if (chunk->seen[i] == window && !chunk->is_live[i])
            slots[kept++] = slots[i];
    return kept;
}

enum bw_code job_leases_read_on(const struct job_leases *reader, struct slot_list *slots,
                                uint32_t first, struct bw_error *error)
{
    struct chunk chunk;
    for (uint32_t at = 0; at < slots->count; at += CHUNK) {
        uint32_t *items = slots->items + at;
        uint32_t count = chunk_size(slots->count - at);
        for (uint32_t next = first; count > 0; next += WINDOW) {
            enum bw_code code = chunk_read(&chunk, reader, items, count, next, WINDOW, error);
            if (code != BW_OK)
                return code;
            count = chunk_keep_ended(&chunk, items, WINDOW);
        }
    }
    return BW_OK;
}

/* ---- Of many runs ---- */

static void probe_take(const struct lease *lease, void *context)
{
    const struct job_leases_probe *probe = context;
    struct job_id job;
    if (job_id_parse(lease->job, &job))
        probe->take(job.run, probe->context);
}

enum bw_code job_leases_probe_flush(struct job_leases_probe *probe, struct bw_error *error)
{
    uint32_t count = probe->count;
    probe->count = 0;
    if (count == 0)
        return BW_OK;
    return lease_store_read(probe->store, (const char(*)[JOB_ID_SIZE])probe->jobs, count, 1, 1,
                            probe_take, probe, error);
}

enum bw_code job_leases_probe_add(struct job_leases_probe *probe, const struct run *run,
                                  uint32_t first, uint32_t end, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    if (probe->jobs == NULL)
        probe->jobs = bw_alloc_array(PROBE_CHUNK, sizeof *probe->jobs);
    for (uint32_t slot = first; code == BW_OK && slot < end; slot++) {
        run_slot_job_id(run, slot, probe->jobs[probe->count++]);
        if (probe->count == PROBE_CHUNK)
            code = job_leases_probe_flush(probe, error);
    }
    return code;
}

void job_leases_probe_clear(struct job_leases_probe *probe)
{
    free(probe->jobs);
    probe->jobs = NULL;
    probe->count = 0;
}
