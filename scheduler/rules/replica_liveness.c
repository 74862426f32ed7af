#include "scheduler/rules/replica_liveness.h"

#include "common/base/log.h"
#include "scheduler/rules/replica_callbacks.h"

enum { ANSWERED_MEMORY_MS = 10000, REPLICA_MEMORY_MS = 60000 };

void replica_liveness_tick(struct scheduler *scheduler)
{
    struct known_replica *replica, *following;
    HASH_ITER (hh, scheduler->replicas.replicas, replica, following) {
        replica_forget_answered(replica, scheduler->now_ms - ANSWERED_MEMORY_MS);
        if (scheduler->now_ms - replica->seen_ms < REPLICA_MEMORY_MS || replica->is_busy)
            continue;
        if (replica->in_contact || replica->outbox != NULL)
            replica_lost_contact(scheduler, replica);
        replica_drop_polls(&scheduler->replicas, replica, scheduler->now_ms);
        if (replica->matched > 0)
            continue;
        log_info("replica forgotten", log_text("replica", replica->id));
        replica_table_remove(&scheduler->replicas, replica);
        scheduler->status_is_stale = true;
    }
}
