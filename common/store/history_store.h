/*
 * history_store: collection history: samples of the cluster's load (common/domain/history.h). The
 * _id is computed from the sample's date, so a step has one sample, the first that is inserted. The
 * scheduler writes them, the API reads them; the database removes them after a week (TTL). Safe
 * from any thread; every function waits for the database.
 */
#ifndef COMMON_STORE_HISTORY_STORE_H
#define COMMON_STORE_HISTORY_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/history.h"

struct history_store;

enum { HISTORY_READ_MAX = 100 }; /* samples at a time */

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code history_store_open(struct database *database, struct history_store **store,
                                struct bw_error *error) BW_CHECKED;
void history_store_close(struct history_store *store);

/* The database's date, as last sampled: UTC milliseconds since 1970. */
int64_t history_store_now_ms(const struct history_store *store);

/* Inserts a sample; if its step has one, nothing changes. BW_OK: it is durable; BW_UNAVAILABLE:
 * unknown. */
enum bw_code history_store_insert(struct history_store *store, const struct history_sample *sample,
                                  struct bw_error *error) BW_CHECKED;

/* Reads the samples of `count` steps (HISTORY_READ_MAX at most) from that of the date `from_ms` on,
 * a multiple of HISTORY_STEP_MS, into `samples`, in the order of their steps; a step without a
 * sample has at_ms 0. `samples` must be empty; the caller clears each, whatever is returned. BW_OK,
 * BW_UNAVAILABLE. */
enum bw_code history_store_read(struct history_store *store, int64_t from_ms, size_t count,
                                struct history_sample *samples, struct bw_error *error) BW_CHECKED;

#endif
