/*
 * webhook_store: collection webhooks: the endpoints of runs, courses and the cluster
 * (common/domain/webhook.h), with their secrets. Written by the API, read by the scheduler for each
 * event. Safe from any thread; every function waits for the database.
 */
#ifndef COMMON_STORE_WEBHOOK_STORE_H
#define COMMON_STORE_WEBHOOK_STORE_H

#include <stddef.h>

#include "common/db/database.h"
#include "common/domain/webhook.h"

struct webhook_store;

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code webhook_store_open(struct database *database, struct webhook_store **store,
                                struct bw_error *error) BW_CHECKED;
void webhook_store_close(struct webhook_store *store);

/* Gives a webhook that belongs to no run a new id. */
void webhook_id_new(char id[WEBHOOK_ID_SIZE]);

/* Inserts `count` webhooks (1 at least), sets their dates. One whose id exists stays as it is.
 * BW_OK: all are stored; BW_UNAVAILABLE: unknown. */
enum bw_code webhook_store_insert(struct webhook_store *store, struct webhook *webhooks,
                                  size_t count, struct bw_error *error) BW_CHECKED;

/* Calls `each` (borrowed; no order) for all webhooks of `count` scopes (webhook_scope). */
enum bw_code webhook_store_find(struct webhook_store *store,
                                const char (*scopes)[WEBHOOK_SCOPE_SIZE], size_t count,
                                void (*each)(const struct webhook *webhook, void *context),
                                void *context, struct bw_error *error) BW_CHECKED;

/* Reads one. BW_NOT_FOUND: there is none; BW_UNAVAILABLE: also if a later version has stored it. */
enum bw_code webhook_store_read(struct webhook_store *store, const char *id,
                                struct webhook *webhook, struct bw_error *error) BW_CHECKED;

/* Deletes one. May be repeated. */
enum bw_code webhook_store_delete(struct webhook_store *store, const char *id,
                                  struct bw_error *error) BW_CHECKED;

/* Deletes those of a run. May be repeated. */
enum bw_code webhook_store_delete_run(struct webhook_store *store, const char *run_id,
                                      struct bw_error *error) BW_CHECKED;

#endif
