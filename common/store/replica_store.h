/*
 * replica_store: collection api_replicas, by which a new scheduler finds the replicas. A replica
 * writes its own document with each heartbeat. Safe from any thread.
 */
#ifndef COMMON_STORE_REPLICA_STORE_H
#define COMMON_STORE_REPLICA_STORE_H

#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/job.h"

struct replica_store;

struct replica {
    char id[WORKER_ID_SIZE];
    char url[256]; /* internal URL, no trailing slash */
    char process[33];
    int64_t last_seen_ms; /* database date */
};

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code replica_store_open(struct database *database, struct replica_store **store,
                                struct bw_error *error) BW_CHECKED;
void replica_store_close(struct replica_store *store);

/* Writes this replica's document (an upsert by id; last_seen by the database's clock). */
enum bw_code replica_store_write(struct replica_store *store, const struct replica *replica,
                                 struct bw_error *error) BW_CHECKED;

/* Removes a replica's document, at its shutdown. */
enum bw_code replica_store_remove(struct replica_store *store, const char *id, const char *process,
                                  struct bw_error *error) BW_CHECKED;

/* Reads all replicas; `each` borrows. BW_UNAVAILABLE: some may have been reported. */
enum bw_code replica_store_each(struct replica_store *store,
                                void (*each)(const struct replica *replica, void *context),
                                void *context, struct bw_error *error) BW_CHECKED;

#endif
