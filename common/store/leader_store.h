/*
 * leader_store: collection leader: one document: holder, term, expires_at. The scheduler's own
 * lease. Safe from any thread.
 */
#ifndef COMMON_STORE_LEADER_STORE_H
#define COMMON_STORE_LEADER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/database.h"
#include "common/job.h"

struct leader_store;

struct leader {
    char holder[WORKER_ID_SIZE];
    int64_t term;
    int64_t mark; /* touched by recovery: a number that the tail waits for */
};

enum bw_code leader_store_open(struct database *database, struct leader_store **store,
                               struct bw_error *error) BW_CHECKED;
void leader_store_close(struct leader_store *store);

/* Takes the lease for `lease_ms` if it has expired by the database's clock (or none was ever
 * there); each taking raises the term. *leader is who leads afterwards; *is_taken: it is the
 * caller. */
enum bw_code leader_store_take(struct leader_store *store, const char *holder, int64_t lease_ms,
                               struct leader *leader, bool *is_taken, struct bw_error *error)
    BW_CHECKED;

/* Renews one's own: *held false: it is somebody else's now. */
enum bw_code leader_store_renew(struct leader_store *store, const char *holder, int64_t term,
                                int64_t lease_ms, bool *held, struct bw_error *error) BW_CHECKED;

/* Gives it back, so that the next one need not wait. */
enum bw_code leader_store_release(struct leader_store *store, const char *holder, int64_t term,
                                  struct bw_error *error) BW_CHECKED;

/* Writes `mark` into the document: the tail, which sees it go by, has seen all that was written
 * before. */
enum bw_code leader_store_mark(struct leader_store *store, const char *holder, int64_t term,
                               int64_t mark, struct bw_error *error) BW_CHECKED;

/* For the tail. */
bool leader_from_document(const bson_t *document, struct leader *leader);

#endif
