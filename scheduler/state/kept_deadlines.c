#include "scheduler/state/kept_deadlines.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct kept_deadline {
    char job[JOB_ID_SIZE]; /* key */
    uint32_t attempt;
    int64_t deadline_ms;
    UT_hash_handle hh;
};

static struct kept_deadline *kept_deadlines_at(struct kept_deadlines *kept, const char *job)
{
    struct kept_deadline *deadline;
    HASH_FIND_STR(kept->deadlines, job, deadline);
    if (deadline == NULL) {
        deadline = bw_alloc(sizeof *deadline);
        memcpy(deadline->job, job, sizeof deadline->job);
        HASH_ADD_STR(kept->deadlines, job, deadline);
    }
    return deadline;
}

void kept_deadlines_add(struct kept_deadlines *kept, const struct lease_table *leases)
{
    for (const struct live_lease *lease = leases->leases; lease != NULL; lease = lease->hh.next) {
        struct kept_deadline *deadline = kept_deadlines_at(kept, lease->job);
        if (lease->attempt < deadline->attempt)
            continue;
        deadline->attempt = lease->attempt;
        deadline->deadline_ms = lease->deadline_ms;
    }
}

bool kept_deadlines_find(const struct kept_deadlines *kept, const char *job, uint32_t attempt,
                         int64_t *deadline_ms)
{
    const struct kept_deadline *deadline;
    HASH_FIND_STR(kept->deadlines, job, deadline);
    if (deadline == NULL || deadline->attempt != attempt)
        return false;
    *deadline_ms = deadline->deadline_ms;
    return true;
}

void kept_deadlines_clear(struct kept_deadlines *kept)
{
    struct kept_deadline *deadline, *following;
    HASH_ITER (hh, kept->deadlines, deadline, following) {
        HASH_DEL(kept->deadlines, deadline);
        free(deadline);
    }
}
