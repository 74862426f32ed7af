/*
 * database: the connection to MongoDB, which holds all shared state: a pool of clients with bounded
 * waits, write concern majority + journal and reads from the primary with majority (set in code),
 * the database's clock, and the indices. Everything is safe from any thread; no client is held
 * across a wait.
 */
#ifndef COMMON_DB_DATABASE_H
#define COMMON_DB_DATABASE_H

#include <mongoc/mongoc.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/metrics.h"

struct database;

/* Called once in a process: before any other thread and any other function of this module, and
 * after all of them. */
void database_library_open(void);
void database_library_close(void);

/* The maximum number of descriptors for the connections of a database with that URI: those of its
 * pools (its maxPoolSize limits operations) and those by which the driver monitors the servers.
 * BW_BAD_REQUEST as for database_open. */
enum bw_code database_descriptors(const char *uri, size_t *count, struct bw_error *error)
    BW_CHECKED;

/* Where operations are counted: a histogram and a counter for each database_operation, from these
 * rows on. */
struct database_metrics {
    struct metrics *metrics; /* outlives the database */
    unsigned seconds_row, failed_row;
};

/* Connects lazily: checks the URI (the error names an unknown or weakening option, and never shows
 * a password), creates the pools. `metrics` (copied) count the commands of all operations; those of
 * change streams and probes, which wait, are not counted. BW_BAD_REQUEST with a sentence for a bad
 * URI or name. */
enum bw_code database_open(const char *uri, const char *name, const char *application,
                           const struct database_metrics *metrics, struct database **database,
                           struct bw_error *error) BW_CHECKED;
/* Closes all connections and frees the database; no operation may be in progress. NULL is allowed.
 */
void database_close(struct database *database);

/* Checks whether the database is reachable, by a command. Also samples the database's clock. BW_OK
 * or BW_UNAVAILABLE. */
enum bw_code database_ping(struct database *database, struct bw_error *error) BW_CHECKED;

/* The same within 3 s, over a connection of its own. After a failure every operation fails at once,
 * until a probe succeeds, so the caller must repeat the probe periodically. */
enum bw_code database_probe(struct database *database, struct bw_error *error) BW_CHECKED;

/* Checks the server's version, while the database can't be reached. BW_OK: supported, as far as
 * known; BW_UNAVAILABLE; BW_INTERNAL: too old, the sentence names both versions. */
enum bw_code database_check(struct database *database, struct bw_error *error) BW_CHECKED;

/* Diagnoses why the servers can't be used (takes some seconds), and logs if the URI names another
 * replica set than theirs. True: logged. */
bool database_explain(struct database *database) BW_CHECKED;

/* Whether the last probe failed. False before the first probe. */
bool database_is_unavailable(const struct database *database);

/* The database's date, UTC ms, by its last sampled offset from this process's clock. */
int64_t database_now_ms(const struct database *database);

/* ---- Only for the stores: Only common/db, common/store and
 * scheduler/io/change_stream use BSON. ---- */

/* Takes a client from the pool for one operation, and returns it. The first one creates missing
 * collections and indices. NULL: none within the limit, or the database is unavailable, *error
 * filled. */
mongoc_client_t *database_client(struct database *database, struct bw_error *error);
void database_return(struct database *database, mongoc_client_t *client);

/* A client of the pool with the longer socket time-out that a change stream needs. NULL as above.
 */
mongoc_client_t *database_stream_client(struct database *database, struct bw_error *error);
void database_stream_return(struct database *database, mongoc_client_t *client);

/* The name of the database. Valid as long as the database is open. */
const char *database_name(const struct database *database);

/* A collection on `client` with the write and read concerns set. mongoc_collection_destroy. */
mongoc_collection_t *database_collection(struct database *database, mongoc_client_t *client,
                                         const char *name);

/* Whether the database refuses this document permanently. After any other failure (network,
 * election, time-out, write concern, a full disk) a retry may succeed. */
bool database_is_refusal(const bson_error_t *error);

/* Reads the documents of `collection` whose _id is among `count` texts, in one or more bounded
 * chunks, and calls `each` for every one found (no order). `projection` may be NULL. BW_OK, or
 * BW_UNAVAILABLE: then some may have been reported. */
enum bw_code database_find_ids(struct database *database, const char *collection,
                               const char *const *ids, size_t count, const bson_t *projection,
                               void (*each)(const bson_t *document, void *context), void *context,
                               struct bw_error *error) BW_CHECKED;

/* Reads the documents with the _ids of `count` documents, which may have any type. */
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

/* Reads the documents that match, in the order of `sort`, until `each` returns false. */
enum bw_code database_find_sorted(struct database *database, const char *collection,
                                  const bson_t *filter, const bson_t *sort,
                                  bool (*each)(const bson_t *document, void *context),
                                  void *context, struct bw_error *error) BW_CHECKED;

/* The same, the first `limit` documents at most. */
enum bw_code database_find_first(struct database *database, const char *collection,
                                 const bson_t *filter, const bson_t *sort, int64_t limit,
                                 bool (*each)(const bson_t *document, void *context), void *context,
                                 struct bw_error *error) BW_CHECKED;

/* Documents of a collection in an order; all borrowed. */
struct database_page {
    const bson_t *filter, *projection, *sort;
    int64_t batch; /* the number of documents of the server's first answer */
};

/* Reads the documents, in the order of `sort`, until `each` returns false. */
enum bw_code database_find_page(struct database *database, const char *collection,
                                const struct database_page *page,
                                bool (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error) BW_CHECKED;

/* Deletes all documents that match `filter`. May be repeated. */
enum bw_code database_delete(struct database *database, const char *collection,
                             const bson_t *filter, struct bw_error *error) BW_CHECKED;

/* Deletes the documents whose _id is among `count` texts, in bounded chunks; *deleted (may be NULL)
 * counts them. May be repeated. BW_OK, BW_UNAVAILABLE: then some may be gone. */
enum bw_code database_delete_ids(struct database *database, const char *collection,
                                 const char *const *ids, size_t count, uint64_t *deleted,
                                 struct bw_error *error) BW_CHECKED;

/* One update by `filter`; `update` is a document or, as an array, a pipeline. *matched: whether it
 * matched. Retried for 10 s at most, so `update` must be safe to repeat; not retried while the last
 * probe has failed. BW_UNAVAILABLE: unknown. */
enum bw_code database_update(struct database *database, const char *collection,
                             const bson_t *filter, const bson_t *update, bool *matched,
                             struct bw_error *error) BW_CHECKED;

/* The same, tried once: for callers that retry without blocking a thread. */
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

#endif
