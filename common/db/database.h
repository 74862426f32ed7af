/*
 * database: the connection to MongoDB, the only shared truth: a pool of clients with every wait
 * bounded, write concern majority + journal and reads from the primary with majority said in code,
 * the database's clock, and the indices. Everything is safe from any thread; no client is held
 * across a wait.
 */
#ifndef COMMON_DB_DATABASE_H
#define COMMON_DB_DATABASE_H

#include <mongoc/mongoc.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct database;

/* Once in a process, before any other thread is made and before anything else of this module; and
 * after everything else of it. */
void database_library_open(void);
void database_library_close(void);

/* How many descriptors the connections of a database with that URI take at most: those of its pools
 * (its maxPoolSize is that of operations) and those by which the driver watches the servers.
 * BW_BAD_REQUEST as for database_open. */
enum bw_code database_descriptors(const char *uri, size_t *count, struct bw_error *error)
    BW_CHECKED;

/* Connects lazily: checks the URI (unknown or weakening options are refused by name, a password
 * never shown), makes the pools. BW_BAD_REQUEST with a sentence for a bad URI or name. */
enum bw_code database_open(const char *uri, const char *name, const char *application,
                           struct database **database, struct bw_error *error) BW_CHECKED;
void database_close(struct database *database);

/* Is the database reachable? Sends a command. Also samples the database's clock. BW_OK or
 * BW_UNAVAILABLE. */
enum bw_code database_ping(struct database *database, struct bw_error *error) BW_CHECKED;

/* The same within 3 s, over a connection of its own, and with consequences: after a failure every
 * operation fails at once, until a probe succeeds. So whoever calls this once calls it again and
 * again. */
enum bw_code database_probe(struct database *database, struct bw_error *error) BW_CHECKED;

/* Can this server be used at all? To be asked while the database can't be reached. BW_OK: yes, as
 * far as is known; BW_UNAVAILABLE; BW_INTERNAL: it is too old, the sentence names both versions. */
enum bw_code database_check(struct database *database, struct bw_error *error) BW_CHECKED;

/* Asks the servers themselves why they can't be reached, some seconds long, and logs what may be
 * found: that the URI names another replica set than theirs. True: it was found and logged. */
bool database_explain(struct database *database) BW_CHECKED;

/* Did the last probe fail? False if there never was one. */
bool database_is_away(const struct database *database);

/* The database's date, UTC ms, by its last sampled offset from this process's clock. */
int64_t database_now_ms(const struct database *database);

/* ---- For the stores alone: BSON does not leave common/store. ---- */

/* A client from the pool for one operation, and its way back. The first one makes the collections
 * and indices that are missing. NULL: none within the limit, or the database is away, *error
 * filled.
 */
mongoc_client_t *database_client(struct database *database, struct bw_error *error);
void database_return(struct database *database, mongoc_client_t *client);

/* A client of the pool with the longer socket time-out that a change stream needs. NULL as above.
 */
mongoc_client_t *database_stream_client(struct database *database, struct bw_error *error);
void database_stream_return(struct database *database, mongoc_client_t *client);

const char *database_name(const struct database *database);

/* A collection on `client` with the write and read concerns set. mongoc_collection_destroy. */
mongoc_collection_t *database_collection(struct database *database, mongoc_client_t *client,
                                         const char *name);

/* Will the database never take this document, however often it is sent? Every other failure
 * (network, election, time-out, write concern, a full disk) is one that another try may mend. */
bool database_is_refusal(const bson_error_t *error);

/* Reads the documents of `collection` whose _id is among `count` texts, in one or more bounded
 * chunks, and calls `each` for every one found (no order). `projection` may be NULL. BW_OK, or
 * BW_UNAVAILABLE: then some may have been reported. */
enum bw_code database_find_ids(struct database *database, const char *collection,
                               const char *const *ids, size_t count, const bson_t *projection,
                               void (*each)(const bson_t *document, void *context), void *context,
                               struct bw_error *error) BW_CHECKED;

/* Reads what stands under the _ids of `count` documents, whatever type these have. */
enum bw_code database_find_same(struct database *database, const char *collection,
                                const bson_t *const *documents, size_t count,
                                const bson_t *projection,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error) BW_CHECKED;

/* Reads all documents that match `filter` (small collections, or an indexed equality). */
enum bw_code database_find(struct database *database, const char *collection, const bson_t *filter,
                           const bson_t *projection,
                           void (*each)(const bson_t *document, void *context), void *context,
                           struct bw_error *error) BW_CHECKED;

/* The same, `limit` documents at most. */
enum bw_code database_find_some(struct database *database, const char *collection,
                                const bson_t *filter, const bson_t *projection, int64_t limit,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error) BW_CHECKED;

/* Deletes all documents that match `filter`. May be repeated. */
enum bw_code database_delete(struct database *database, const char *collection,
                             const bson_t *filter, struct bw_error *error) BW_CHECKED;

/* Deletes the documents whose _id is among `count` texts, in bounded chunks; *deleted (may be NULL)
 * counts them. May be repeated. BW_OK, BW_UNAVAILABLE: then some may be gone. */
enum bw_code database_delete_ids(struct database *database, const char *collection,
                                 const char *const *ids, size_t count, uint64_t *deleted,
                                 struct bw_error *error) BW_CHECKED;

/* One update by `filter`; `update` is a document or, as an array, a pipeline. *matched tells
 * whether it matched. Retried while that may help, 10 s at most: so `update` must be safe to
 * repeat; not while the last probe has failed. BW_UNAVAILABLE: unknown. */
enum bw_code database_update(struct database *database, const char *collection,
                             const bson_t *filter, const bson_t *update, bool *matched,
                             struct bw_error *error) BW_CHECKED;

/* The same, tried once: for callers that try again without holding a thread meanwhile. */
enum bw_code database_update_try(struct database *database, const char *collection,
                                 const bson_t *filter, const bson_t *update, bool *matched,
                                 struct bw_error *error) BW_CHECKED;

struct database_change {
    bson_t filter, update;
};

/* One update each, in this order, in as few commands as the server takes them in. Retried as a
 * whole like database_update. BW_UNAVAILABLE: some may have been done. */
enum bw_code database_update_each(struct database *database, const char *collection,
                                  const struct database_change *changes, size_t count,
                                  struct bw_error *error) BW_CHECKED;

/* The same for every document that matches; not atomic as a whole. *matched counts those that
 * matched in the last try. */
enum bw_code database_update_many(struct database *database, const char *collection,
                                  const bson_t *filter, const bson_t *update, uint64_t *matched,
                                  struct bw_error *error) BW_CHECKED;

/* Takes out of a message of the driver's whatever stands before an @, where a URI has its user and
 * password. In place; returns `text`. */
char *database_mask(char *text);

#endif
