/*
 * replica_heartbeat: this replica's heartbeat: a thread that every `every_ms` asks the database for
 * a sign of life (which samples its clock, too) and writes this replica's document, by which a new
 * scheduler finds it. What it found is what /readyz answers. Safe from any thread.
 */
#ifndef API_UPLINK_REPLICA_HEARTBEAT_H
#define API_UPLINK_REPLICA_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/store/replica_store.h"

struct heartbeat;

/* Starts the thread; its first round begins at once. Borrows both until replica_heartbeat_close.
 * BW_INTERNAL: no thread. */
enum bw_code replica_heartbeat_open(struct database *database, struct replica_store *store,
                                    const struct replica *replica, int64_t every_ms,
                                    struct heartbeat **heartbeat, struct bw_error *error)
    BW_CHECKED;

/* Ends the thread and takes the replica's document away, once, as well as that goes. NULL is fine.
 */
void replica_heartbeat_close(struct heartbeat *heartbeat);

/* Did the last round reach the database, for reading and for writing? */
bool replica_heartbeat_is_database_reachable(const struct heartbeat *heartbeat);

#endif
