/*
 * pause_store: collection pauses: what is paused, by the ids of common/domain/pause.h. The API
 * writes the manual pauses and ends the others; the scheduler inserts automatic ones, and deletes
 * those that have passed. The collection is small. Safe from any thread; every function waits for
 * the database.
 */
#ifndef COMMON_STORE_PAUSE_STORE_H
#define COMMON_STORE_PAUSE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/pause.h"

struct pause_store;

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code pause_store_open(struct database *database, struct pause_store **store,
                              struct bw_error *error) BW_CHECKED;
void pause_store_close(struct pause_store *store);

/* Stores a manual pause in place of the one that exists; pause->at_ms is set to the database's
 * date, and until_ms to `timeout_ms` later (0: without end). BW_OK: it is durable;
 * BW_UNAVAILABLE: unknown. */
enum bw_code pause_store_put(struct pause_store *store, struct pause *pause, int64_t timeout_ms,
                             struct bw_error *error) BW_CHECKED;

/* Inserts an automatic pause, unless there is one, which may have been resumed. BW_OK;
 * BW_UNAVAILABLE: unknown. */
enum bw_code pause_store_insert(struct pause_store *store, const struct pause *pause,
                                struct bw_error *error) BW_CHECKED;

/* Ends both pauses of what `kind` and `name` say: deletes the manual one, and marks the automatic
 * one of a run as resumed, whether it exists or not, so that no other can follow. BW_OK, also if
 * nothing was paused; BW_UNAVAILABLE: unknown. */
enum bw_code pause_store_resume(struct pause_store *store, enum pause_kind kind, const char *name,
                                struct bw_error *error) BW_CHECKED;

/* Reads all pauses, also those that were resumed or have passed. *pauses is new, free(); in the
 * order of their ids. BW_OK, BW_UNAVAILABLE. */
enum bw_code pause_store_read(struct pause_store *store, struct pause **pauses, size_t *count,
                              struct bw_error *error) BW_CHECKED;

/* Calls `each` (no order; borrowed) for those of `count` ids that are stored. */
enum bw_code pause_store_find(struct pause_store *store, const char (*ids)[PAUSE_ID_SIZE],
                              size_t count, void (*each)(const struct pause *pause, void *context),
                              void *context, struct bw_error *error) BW_CHECKED;

/* Deletes a pause whose end is still the same: one that was renewed stays. May be repeated. */
enum bw_code pause_store_delete_passed(struct pause_store *store, const struct pause *pause,
                                       struct bw_error *error) BW_CHECKED;

/* Deletes the pause of a worker that is to be deleted. May be repeated. */
enum bw_code pause_store_delete_worker(struct pause_store *store, const char *worker,
                                       struct bw_error *error) BW_CHECKED;

/* Deletes both pauses of a run that has ended. May be repeated. */
enum bw_code pause_store_delete_run(struct pause_store *store, const char *run,
                                    struct bw_error *error) BW_CHECKED;

#endif
