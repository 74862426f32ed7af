/*
 * replica_heartbeat: this replica's heartbeat. Every `every_ms` a thread probes the database (which
 * also samples the database's clock) and writes this replica's document, by which a new scheduler
 * finds the replica. /readyz reports the last outcome. Callers: service, signals, health. Safe from
 * any thread.
 */
#ifndef API_UPLINK_REPLICA_HEARTBEAT_H
#define API_UPLINK_REPLICA_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/store/replica_store.h"

struct heartbeat;

/* Starts the thread; its first round begins at once. Borrows `database` and `store` until
 * replica_heartbeat_close. BW_INTERNAL: no thread. */
enum bw_code replica_heartbeat_open(struct database *database, struct replica_store *store,
                                    const struct replica *replica, int64_t every_ms,
                                    struct heartbeat **heartbeat, struct bw_error *error)
    BW_CHECKED;

/* Ends the thread and tries once to remove the replica's document. NULL is allowed. */
void replica_heartbeat_close(struct heartbeat *heartbeat);

/* Whether the last round reached the database, for reading and for writing. Does not wait. */
bool replica_heartbeat_is_database_reachable(const struct heartbeat *heartbeat);

#endif
