/*
 * definition_store: collection run_definitions: immutable definitions that are too long for the
 * run's own document. Written by the API, before the run. Safe from any thread.
 */
#ifndef COMMON_STORE_DEFINITION_STORE_H
#define COMMON_STORE_DEFINITION_STORE_H

#include <stddef.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/base/secret.h"

struct definition_store;

enum { DEFINITION_MAX_BYTES = 16 * 1024 * 1024 - 64 * 1024 }; /* what fits into a document */

/* Opens the store; `database` must outlive it. BW_INTERNAL: its thread can't be started. The close
 * completes submitted inserts; NULL is allowed. */
enum bw_code definition_store_open(struct database *database, struct definition_store **store,
                                   struct bw_error *error) BW_CHECKED;
void definition_store_close(struct definition_store *store);

struct definition_commit {
    struct commit_item item; /* first; private to the store */
    char run_id[RUN_ID_SIZE];
    const char *text;              /* borrowed only during definition_store_insert */
    size_t length;                 /* DEFINITION_MAX_BYTES at most */
    char digest[SHA256_TEXT_SIZE]; /* stored with it, unless it is "" */
    /* Called once from the store's thread. With COMMIT_DUPLICATE `first` is the digest of the
     * existing document ("": none), or NULL if it could not be read. */
    void (*completed)(struct definition_commit *commit, enum commit_outcome outcome,
                      const char *first);
};

/* Inserts with the next batch, tried for 10 s. */
void definition_store_insert(struct definition_store *store, struct definition_commit *commit);

/* The ids of all definitions; `each` borrows. Scans the collection. */
enum bw_code definition_store_each(struct definition_store *store,
                                   void (*each)(const char *run_id, void *context), void *context,
                                   struct bw_error *error) BW_CHECKED;

/* Deletes one. May be repeated. */
enum bw_code definition_store_delete(struct definition_store *store, const char *run_id,
                                     struct bw_error *error) BW_CHECKED;

/* Reads it. *text is new (free()). BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code definition_store_read(struct definition_store *store, const char *run_id, char **text,
                                   size_t *length, struct bw_error *error) BW_CHECKED;

#endif
