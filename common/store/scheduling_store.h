/*
 * scheduling_store: collection scheduling: the courses' shares by the course file (one document,
 * "file"), and by operators ("course/NAME"), and the reservations ("reservation/NAME"). Written by
 * the API, read by the API and the scheduler. Safe from any thread; every function waits for the
 * database.
 */
#ifndef COMMON_STORE_SCHEDULING_STORE_H
#define COMMON_STORE_SCHEDULING_STORE_H

#include "common/db/database.h"
#include "common/domain/scheduling.h"

struct scheduling_store;

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code scheduling_store_open(struct database *database, struct scheduling_store **store,
                                   struct bw_error *error) BW_CHECKED;
void scheduling_store_close(struct scheduling_store *store);

/* Reads everything; shares are merged. On BW_OK the caller frees it with scheduling_clear. What has
 * another form than this version's is skipped. BW_UNAVAILABLE. */
enum bw_code scheduling_store_read(struct scheduling_store *store, struct scheduling *scheduling,
                                   struct bw_error *error) BW_CHECKED;

/* Replaces what the course file says: `count` shares. BW_OK; BW_UNAVAILABLE: unknown; may be
 * repeated. */
enum bw_code scheduling_store_replace_file(struct scheduling_store *store,
                                           const struct course_share *shares, size_t count,
                                           struct bw_error *error) BW_CHECKED;

/* Stores what an operator states of a course, in place of what one stated before; at_ms is set to
 * the database's date. BW_OK: it is durable; BW_UNAVAILABLE: unknown. */
enum bw_code scheduling_store_put_share(struct scheduling_store *store, struct course_share *share,
                                        struct bw_error *error) BW_CHECKED;
/* Deletes that: the course file counts again. BW_OK, also if there was none; BW_UNAVAILABLE. */
enum bw_code scheduling_store_delete_share(struct scheduling_store *store, const char *course,
                                           struct bw_error *error) BW_CHECKED;

/* Stores a reservation in place of one with that name; at_ms is set to the database's date, and
 * until_ms to `timeout_ms` later (0: without end). BW_OK; BW_CONFLICT: there are RESERVATIONS_MAX;
 * BW_UNAVAILABLE: unknown. */
enum bw_code scheduling_store_put_reservation(struct scheduling_store *store,
                                              struct reservation *reservation, int64_t timeout_ms,
                                              struct bw_error *error) BW_CHECKED;
/* BW_OK; BW_NOT_FOUND: there is none of that name; BW_UNAVAILABLE. */
enum bw_code scheduling_store_delete_reservation(struct scheduling_store *store, const char *name,
                                                 struct bw_error *error) BW_CHECKED;

#endif
