#include "api/uplink/replica_heartbeat.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/ticker.h"

enum { UNAVAILABLE_PAUSE_MS = 250 }; /* between two probes of an unavailable database */

struct heartbeat {
    struct database *database;
    struct replica_store *store;
    struct replica replica;
    int64_t every_ms;
    atomic_bool is_reachable;
    struct ticker *ticker;
};

/* Opens or closes the circuit by which other modules' operations fail at once
 * (common/db/database.h). */
static bool replica_heartbeat_probe(struct heartbeat *heartbeat)
{
    struct bw_error error;
    bool was_unavailable = database_is_unavailable(heartbeat->database);
    enum bw_code code = database_probe(heartbeat->database, &error);
    if (code == BW_OK && was_unavailable)
        log_event(LOG_LEVEL_INFO, "database reachable again");
    if (code != BW_OK && !was_unavailable)
        log_error("database unavailable", log_text("reason", error.message));
    return code == BW_OK;
}

/* Writes the replica's document. A database that was lost since the probe is probed again, so that
 * nobody learns that this replica isn't ready while other operations still wait for the database.
 */
static bool replica_heartbeat_write(struct heartbeat *heartbeat)
{
    struct bw_error error;
    if (replica_store_write(heartbeat->store, &heartbeat->replica, &error) == BW_OK)
        return true;
    replica_heartbeat_probe(heartbeat);
    return false;
}

static int64_t replica_heartbeat_tick(void *context)
{
    struct heartbeat *heartbeat = context;
    int64_t begun_ms = clock_boot_ms();
    bool is_reachable = replica_heartbeat_probe(heartbeat) && replica_heartbeat_write(heartbeat);
    atomic_store(&heartbeat->is_reachable, is_reachable);
    if (!is_reachable)
        return UNAVAILABLE_PAUSE_MS;
    int64_t rest_ms = begun_ms + heartbeat->every_ms - clock_boot_ms();
    return rest_ms > 0 ? rest_ms : 0;
}

enum bw_code replica_heartbeat_open(struct database *database, struct replica_store *store,
                                    const struct replica *replica, int64_t every_ms,
                                    struct heartbeat **heartbeat, struct bw_error *error)
{
    struct heartbeat *self = bw_alloc(sizeof *self);
    self->database = database;
    self->store = store;
    self->replica = *replica;
    self->every_ms = every_ms;
    enum bw_code code = ticker_open("the replica's heartbeat", 0, replica_heartbeat_tick, self,
                                    &self->ticker, error);
    if (code != BW_OK)
        free(self);
    else
        *heartbeat = self;
    return code;
}

void replica_heartbeat_close(struct heartbeat *heartbeat)
{
    if (heartbeat == NULL)
        return;
    ticker_close(heartbeat->ticker);
    struct bw_error error; /* not reported: readers recognise a stale document by its age */
    (void)!replica_store_remove(heartbeat->store, heartbeat->replica.id, heartbeat->replica.process,
                                &error);
    free(heartbeat);
}

bool replica_heartbeat_is_database_reachable(const struct heartbeat *heartbeat)
{
    return atomic_load(&heartbeat->is_reachable);
}
