/*
 * database_insert: inserts of documents that may exist already.
 * For the stores alone. Safe from any thread; waits for the database.
 */
#ifndef COMMON_DB_DATABASE_INSERT_H
#define COMMON_DB_DATABASE_INSERT_H

#include <bson/bson.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/db/database.h"

/* Inserts `count` documents (1 at least, what fits into one command at most), in any order; one
 * whose _id exists changes nothing. *existing (may be NULL) counts those in the last try. Retried
 * for 10 s at most; not retried while the last probe has failed. BW_OK: all are stored durably;
 * BW_UNAVAILABLE: some may be stored. */
enum bw_code database_insert_missing(struct database *database, const char *collection,
                                     const bson_t *const *documents, size_t count, size_t *existing,
                                     struct bw_error *error) BW_CHECKED;

/* Stores `count` documents (as above) under their _ids, in place of those that exist. Retried in
 * the same way. BW_OK: all are stored durably; BW_UNAVAILABLE: some may be. */
enum bw_code database_replace_each(struct database *database, const char *collection,
                                   const bson_t *const *documents, size_t count,
                                   struct bw_error *error) BW_CHECKED;

#endif
