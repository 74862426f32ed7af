/*
 * life: this replica's heartbeat: a thread that every `every_ms` asks the database for a sign of
 * life (which samples its clock, too) and writes this replica's document, by which a new scheduler
 * finds it. What it found is what /readyz answers. Safe from any thread.
 */
#ifndef API_UPLINK_REPLICA_HEARTBEAT_H
#define API_UPLINK_REPLICA_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/store/replica_store.h"

struct life;

/* Starts the thread; its first round begins at once. Borrows both until life_close. BW_INTERNAL: no
 * thread. */
enum bw_code life_open(struct database *database, struct replica_store *store,
                       const struct replica *replica, int64_t every_ms, struct life **life,
                       struct bw_error *error) BW_CHECKED;

/* Ends the thread and takes the replica's document away, once, as well as that goes. NULL is fine.
 */
void life_close(struct life *life);

/* Did the last round reach the database, for reading and for writing? */
bool life_is_database_reachable(const struct life *life);

#endif
