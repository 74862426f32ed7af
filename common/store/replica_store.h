/*
 * replica_store: collection api_replicas: how a scheduler that has just started finds the replicas.
 * A replica writes its own document with each sign of life. Safe from any thread.
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

enum bw_code replica_store_open(struct database *database, struct replica_store **store,
                                struct bw_error *error) BW_CHECKED;
void replica_store_close(struct replica_store *store);

/* Says that this replica is there (an upsert by id; last_seen by the database's clock). */
enum bw_code replica_store_announce(struct replica_store *store, const struct replica *replica,
                                    struct bw_error *error) BW_CHECKED;

/* Takes a replica's document away, at its end. */
enum bw_code replica_store_remove(struct replica_store *store, const char *id, const char *process,
                                  struct bw_error *error) BW_CHECKED;

enum bw_code replica_store_each(struct replica_store *store,
                                void (*each)(const struct replica *replica, void *context),
                                void *context, struct bw_error *error) BW_CHECKED;

#endif
