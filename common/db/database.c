#include "common/base/alloc.h"
#include "common/db/database.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/db/database_diagnosis.h"
#include "common/db/database_mask.h"
#include "common/db/database_operations.h"
#include "common/db/database_pool.h"
#include "common/db/collections.h"
#include "common/base/log.h"

enum {
    UPDATE_TRY_MS = 10000,
    RETRY_PAUSE_US = 100000,
    FIND_CHUNK = 64, /* the embedded database takes longer than linearly for a longer list */
    WATCHING_DESCRIPTORS = 26 /* two of each pool for each member of a replica set, and a reserve */
};

/* The stream waits for changes within the socket's time-out; a probe must be quick. */
static const struct database_bounds operation_bounds = {4000, 2000, 6000, 64, true};
static const struct database_bounds stream_bounds = {4000, 2000, 12000, 4, false};
static const struct database_bounds probe_bounds = {1500, 1500, 3000, 2, false};

struct database {
    mongoc_uri_t *uri;
    const char *application; /* static */
    mongoc_client_pool_t *pool;
    mongoc_client_pool_t *stream_pool;
    mongoc_client_pool_t *probe_pool;
    mongoc_write_concern_t *durable; /* majority and journal */
    mongoc_read_concern_t *majority;
    mongoc_read_prefs_t *primary;
    struct database_metrics metrics;
    char name[64];
    atomic_bool has_schema;
    atomic_bool is_unavailable;      /* the last probe failed */
    atomic_bool is_too_old;          /* the server that answered last */
    _Atomic int64_t clock_offset_ms; /* the database's date minus clock_boot_ms */
};

/* Failures are returned as errors; the driver's own log lines add nothing. */
void database_library_open(void)
{
    mongoc_log_set_handler(NULL, NULL);
    mongoc_init();
}

void database_library_close(void)
{
    mongoc_cleanup();
}

static bool is_database_name(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < 64 && strcspn(name, "/\\. \"$*<>:|?") == length;
}

enum bw_code database_descriptors(const char *uri, size_t *count, struct bw_error *error)
{
    mongoc_uri_t *parsed = database_uri_read(uri, error);
    if (parsed == NULL)
        return BW_BAD_REQUEST;
    *count = WATCHING_DESCRIPTORS + (size_t)database_pool_size(parsed, &operation_bounds) +
             (size_t)database_pool_size(parsed, &stream_bounds) +
             (size_t)database_pool_size(parsed, &probe_bounds);
    mongoc_uri_destroy(parsed);
    return BW_OK;
}

/* ---- Metrics ---- */

static void database_observe(const struct database *database, const char *command, int64_t us)
{
    const struct database_metrics *metrics = &database->metrics;
    metric_observe_us(metrics->metrics, metrics->seconds_row + database_operation_of(command), us);
}

static void database_note_succeeded(const mongoc_apm_command_succeeded_t *event)
{
    database_observe(mongoc_apm_command_succeeded_get_context(event),
                     mongoc_apm_command_succeeded_get_command_name(event),
                     mongoc_apm_command_succeeded_get_duration(event));
}

static void database_note_failed(const mongoc_apm_command_failed_t *event)
{
    const struct database *database = mongoc_apm_command_failed_get_context(event);
    const char *command = mongoc_apm_command_failed_get_command_name(event);
    database_observe(database, command, mongoc_apm_command_failed_get_duration(event));
    metric_add(database->metrics.metrics,
               database->metrics.failed_row + database_operation_of(command), 1);
}

/* The driver calls these from whichever thread runs the command. */
static void database_count_operations(struct database *database)
{
    mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();
    mongoc_apm_set_command_succeeded_cb(callbacks, database_note_succeeded);
    mongoc_apm_set_command_failed_cb(callbacks, database_note_failed);
    mongoc_client_pool_set_apm_callbacks(database->pool, callbacks, database);
    mongoc_apm_callbacks_destroy(callbacks);
}

enum bw_code database_open(const char *uri, const char *name, const char *application,
                           const struct database_metrics *metrics, struct database **database,
                           struct bw_error *error)
{
    if (!is_database_name(name))
        return bw_fail(error, BW_BAD_REQUEST, "'%.60s' can't be the name of a database", name);
    mongoc_uri_t *parsed = database_uri_read(uri, error);
    if (parsed == NULL)
        return BW_BAD_REQUEST;

    struct database *opened = bw_alloc(sizeof *opened);
    snprintf(opened->name, sizeof opened->name, "%s", name);
    opened->pool = database_pool_open(parsed, &operation_bounds, application, error);
    if (opened->pool != NULL)
        opened->stream_pool = database_pool_open(parsed, &stream_bounds, application, error);
    if (opened->stream_pool != NULL)
        opened->probe_pool = database_pool_open(parsed, &probe_bounds, application, error);
    opened->uri = parsed;
    opened->application = application;
    opened->durable = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(opened->durable, 8000);
    mongoc_write_concern_set_journal(opened->durable, true);
    opened->majority = mongoc_read_concern_new();
    mongoc_read_concern_set_level(opened->majority, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    opened->primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    atomic_store(&opened->clock_offset_ms, clock_wall_ms() - clock_boot_ms());
    if (opened->probe_pool == NULL) {
        database_close(opened);
        return BW_BAD_REQUEST;
    }
    opened->metrics = *metrics;
    database_count_operations(opened);
    *database = opened;
    return BW_OK;
}

void database_close(struct database *database)
{
    if (database == NULL)
        return;
    if (database->pool != NULL)
        mongoc_client_pool_destroy(database->pool);
    if (database->stream_pool != NULL)
        mongoc_client_pool_destroy(database->stream_pool);
    if (database->probe_pool != NULL)
        mongoc_client_pool_destroy(database->probe_pool);
    mongoc_uri_destroy(database->uri);
    mongoc_write_concern_destroy(database->durable);
    mongoc_read_concern_destroy(database->majority);
    mongoc_read_prefs_destroy(database->primary);
    free(database);
}

static enum bw_code database_fail_unavailable(const bson_error_t *reason, struct bw_error *error)
{
    bson_error_t masked = *reason;
    return bw_fail(error, BW_UNAVAILABLE, "the database did not do it: %.200s",
                   database_mask(masked.message));
}

static mongoc_client_t *database_pop_client(mongoc_client_pool_t *pool, struct bw_error *error)
{
    mongoc_client_t *client = mongoc_client_pool_pop(pool);
    if (client == NULL)
        bw_fail(error, BW_UNAVAILABLE, "every connection to the database is busy");
    return client;
}

void database_return(struct database *database, mongoc_client_t *client)
{
    mongoc_client_pool_push(database->pool, client);
}

static bool say_hello(struct database *database, mongoc_client_t *client, bson_error_t *reason);

/* Before its first operation, each process checks the server's version and creates missing
 * collections. */
mongoc_client_t *database_client(struct database *database, struct bw_error *error)
{
    if (database_is_unavailable(database)) {
        bw_fail(error, BW_UNAVAILABLE, "the database can't be reached");
        return NULL;
    }
    mongoc_client_t *client = database_pop_client(database->pool, error);
    if (client == NULL || atomic_load(&database->has_schema))
        return client;
    bson_error_t reason;
    if (!say_hello(database, client, &reason) ||
        !collections_make(client, database->name, database->durable, &reason)) {
        (void)database_fail_unavailable(&reason, error);
        database_return(database, client);
        return NULL;
    }
    atomic_store(&database->has_schema, true);
    return client;
}

mongoc_client_t *database_stream_client(struct database *database, struct bw_error *error)
{
    return database_pop_client(database->stream_pool, error);
}

void database_stream_return(struct database *database, mongoc_client_t *client)
{
    mongoc_client_pool_push(database->stream_pool, client);
}

const char *database_name(const struct database *database)
{
    return database->name;
}

mongoc_collection_t *database_collection(struct database *database, mongoc_client_t *client,
                                         const char *name)
{
    mongoc_collection_t *collection = mongoc_client_get_collection(client, database->name, name);
    mongoc_collection_set_write_concern(collection, database->durable);
    mongoc_collection_set_read_concern(collection, database->majority);
    mongoc_collection_set_read_prefs(collection, database->primary);
    return collection;
}

/* The date in a reply to hello is the database's, as of the middle of the round trip. */
static void database_sample_clock(struct database *database, const bson_t *reply, int64_t sent_ms,
                                  int64_t back_ms)
{
    bson_iter_t field;
    if (!bson_iter_init_find(&field, reply, "localTime") || !BSON_ITER_HOLDS_DATE_TIME(&field))
        return;
    atomic_store(&database->clock_offset_ms, bson_iter_date_time(&field) - (sent_ms + back_ms) / 2);
}

static bool say_hello(struct database *database, mongoc_client_t *client, bson_error_t *reason)
{
    bson_t hello = BSON_INITIALIZER, reply;
    BSON_APPEND_INT32(&hello, "hello", 1);
    int64_t sent_ms = clock_boot_ms();
    bool ok = mongoc_client_command_simple(client, "admin", &hello, database->primary, &reply,
                                           reason);
    if (ok)
        database_sample_clock(database, &reply, sent_ms, clock_boot_ms());
    struct bw_error sentence;
    bool is_too_old = diagnosis_is_too_old(client, &reply, ok ? NULL : reason, &sentence);
    if (is_too_old)
        snprintf(reason->message, sizeof reason->message, "%s", sentence.message);
    if (ok || is_too_old)
        atomic_store(&database->is_too_old, is_too_old);
    bson_destroy(&reply);
    bson_destroy(&hello);
    return ok && !is_too_old;
}

enum bw_code database_ping(struct database *database, struct bw_error *error)
{
    mongoc_client_t *client = database_client(database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    bson_error_t reason;
    bool ok = say_hello(database, client, &reason);
    database_return(database, client);
    return ok ? BW_OK : database_fail_unavailable(&reason, error);
}

enum bw_code database_check(struct database *database, struct bw_error *error)
{
    if (!atomic_load(&database->is_too_old))
        return BW_OK;
    bson_error_t reason = {.message = ""};
    mongoc_client_t *client = database_pop_client(database->probe_pool, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    bool ok = say_hello(database, client, &reason);
    mongoc_client_pool_push(database->probe_pool, client);
    if (ok)
        return BW_OK;
    return bw_fail(error, atomic_load(&database->is_too_old) ? BW_INTERNAL : BW_UNAVAILABLE, "%s",
                   reason.message);
}

bool database_explain(struct database *database)
{
    struct bw_error sentence;
    if (!diagnosis_is_other_set(database->uri, database->application, &sentence))
        return false;
    log_warning("the database's replica set differs from the URI's",
                log_text("reason", sentence.message));
    return true;
}

enum bw_code database_probe(struct database *database, struct bw_error *error)
{
    bson_error_t reason = {.message = "its connection is busy"};
    mongoc_client_t *client = database_pop_client(database->probe_pool, error);
    bool ok = client != NULL && say_hello(database, client, &reason);
    if (client != NULL)
        mongoc_client_pool_push(database->probe_pool, client);
    atomic_store(&database->is_unavailable, !ok);
    return ok ? BW_OK : database_fail_unavailable(&reason, error);
}

bool database_is_unavailable(const struct database *database)
{
    return atomic_load(&database->is_unavailable);
}

int64_t database_now_ms(const struct database *database)
{
    return clock_boot_ms() + atomic_load(&database->clock_offset_ms);
}

bool database_is_refusal(const bson_error_t *error)
{
    /* BadValue, FailedToParse, TypeMismatch, InvalidBSON, DocumentValidationFailure,
     * BSONObjectTooLarge, and two more names of that. */
    static const uint32_t codes[] = {2, 9, 14, 22, 121, 10334, 17419, 17420};
    if (error->domain == MONGOC_ERROR_BSON)
        return true; /* reported by the driver: it was never sent */
    if (error->domain != MONGOC_ERROR_SERVER && error->domain != MONGOC_ERROR_COMMAND)
        return false;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (error->code == codes[i])
            return true;
    return false;
}

/* Calls `each` for what a cursor has, until it returns false. Destroys the cursor. */
static enum bw_code drain_cursor(mongoc_cursor_t *cursor,
                                 bool (*each)(const bson_t *document, void *context), void *context,
                                 struct bw_error *error)
{
    const bson_t *document;
    bson_error_t reason;
    while (mongoc_cursor_next(cursor, &document) && each(document, context))
        ;
    bool failed = mongoc_cursor_error(cursor, &reason);
    mongoc_cursor_destroy(cursor);
    return failed ? database_fail_unavailable(&reason, error) : BW_OK;
}

static enum bw_code find_with_options(struct database *database, const char *collection,
                                      const bson_t *filter, const bson_t *options,
                                      bool (*each)(const bson_t *document, void *context),
                                      void *context, struct bw_error *error)
{
    mongoc_client_t *client = database_client(database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *from = database_collection(database, client, collection);
    enum bw_code code = drain_cursor(mongoc_collection_find_with_opts(from, filter, options, NULL),
                                     each, context, error);
    mongoc_collection_destroy(from);
    database_return(database, client);
    return code;
}

enum bw_code database_find_sorted(struct database *database, const char *collection,
                                  const bson_t *filter, const bson_t *sort,
                                  bool (*each)(const bson_t *document, void *context),
                                  void *context, struct bw_error *error)
{
    bson_t options = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&options, "sort", sort);
    enum bw_code code = find_with_options(database, collection, filter, &options, each, context,
                                          error);
    bson_destroy(&options);
    return code;
}

enum bw_code database_find_page(struct database *database, const char *collection,
                                const struct database_page *page,
                                bool (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error)
{
    bson_t options = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&options, "projection", page->projection);
    BSON_APPEND_DOCUMENT(&options, "sort", page->sort);
    BSON_APPEND_INT64(&options, "batchSize", page->batch);
    enum bw_code code = find_with_options(database, collection, page->filter, &options, each,
                                          context, error);
    bson_destroy(&options);
    return code;
}

enum bw_code database_find_first(struct database *database, const char *collection,
                                 const bson_t *filter, const bson_t *sort, int64_t limit,
                                 bool (*each)(const bson_t *document, void *context), void *context,
                                 struct bw_error *error)
{
    bson_t options = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&options, "sort", sort);
    BSON_APPEND_INT64(&options, "limit", limit);
    enum bw_code code = find_with_options(database, collection, filter, &options, each, context,
                                          error);
    bson_destroy(&options);
    return code;
}

struct find_all {
    void (*each)(const bson_t *document, void *context);
    void *context;
};

static bool find_all_take(const bson_t *document, void *context)
{
    const struct find_all *all = context;
    all->each(document, all->context);
    return true;
}

enum bw_code database_find_some(struct database *database, const char *collection,
                                const bson_t *filter, const bson_t *projection, int64_t limit,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error)
{
    struct find_all all = {each, context};
    bson_t options = BSON_INITIALIZER;
    if (projection != NULL)
        BSON_APPEND_DOCUMENT(&options, "projection", projection);
    if (limit > 0)
        BSON_APPEND_INT64(&options, "limit", limit);
    enum bw_code code = find_with_options(database, collection, filter, &options, find_all_take,
                                          &all, error);
    bson_destroy(&options);
    return code;
}

enum bw_code database_find(struct database *database, const char *collection, const bson_t *filter,
                           const bson_t *projection,
                           void (*each)(const bson_t *document, void *context), void *context,
                           struct bw_error *error)
{
    return database_find_some(database, collection, filter, projection, 0, each, context, error);
}

enum bw_code database_find_same(struct database *database, const char *collection,
                                const bson_t *const *documents, size_t count,
                                const bson_t *projection,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, condition, list;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (size_t i = 0; i < count; i++) {
        char buffer[16];
        const char *key;
        bson_iter_t id;
        bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        if (bson_iter_init_find(&id, documents[i], "_id"))
            bson_append_iter(&list, key, -1, &id);
    }
    bson_append_array_end(&condition, &list);
    bson_append_document_end(&filter, &condition);
    enum bw_code code = database_find(database, collection, &filter, projection, each, context,
                                      error);
    bson_destroy(&filter);
    return code;
}

static void append_ids(bson_t *filter, const char *const *ids, size_t count)
{
    bson_t condition, list;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (size_t i = 0; i < count; i++) {
        char buffer[16];
        const char *key;
        bson_uint32_to_string((uint32_t)i, &key, buffer, sizeof buffer);
        BSON_APPEND_UTF8(&list, key, ids[i]);
    }
    bson_append_array_end(&condition, &list);
    bson_append_document_end(filter, &condition);
}

enum bw_code database_find_ids(struct database *database, const char *collection,
                               const char *const *ids, size_t count, const bson_t *projection,
                               void (*each)(const bson_t *document, void *context), void *context,
                               struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (size_t from = 0; code == BW_OK && from < count; from += FIND_CHUNK) {
        size_t chunk = count - from < FIND_CHUNK ? count - from : FIND_CHUNK;
        bson_t filter = BSON_INITIALIZER;
        append_ids(&filter, ids + from, chunk);
        code = database_find(database, collection, &filter, projection, each, context, error);
        bson_destroy(&filter);
    }
    return code;
}

static enum bw_code delete_matching(struct database *database, const char *collection,
                                    const bson_t *filter, uint64_t *deleted, struct bw_error *error)
{
    mongoc_client_t *client = database_client(database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *from = database_collection(database, client, collection);
    bson_t reply;
    bson_error_t reason;
    bson_iter_t field;
    bool ok = mongoc_collection_delete_many(from, filter, NULL, &reply, &reason);
    if (ok && deleted != NULL && bson_iter_init_find(&field, &reply, "deletedCount"))
        *deleted += (uint64_t)bson_iter_as_int64(&field);
    bson_destroy(&reply);
    mongoc_collection_destroy(from);
    database_return(database, client);
    return ok ? BW_OK : database_fail_unavailable(&reason, error);
}

enum bw_code database_delete(struct database *database, const char *collection,
                             const bson_t *filter, struct bw_error *error)
{
    return delete_matching(database, collection, filter, NULL, error);
}

enum bw_code database_delete_ids(struct database *database, const char *collection,
                                 const char *const *ids, size_t count, uint64_t *deleted,
                                 struct bw_error *error)
{
    enum bw_code code = BW_OK;
    if (deleted != NULL)
        *deleted = 0;
    for (size_t from = 0; code == BW_OK && from < count; from += FIND_CHUNK) {
        bson_t filter = BSON_INITIALIZER;
        append_ids(&filter, ids + from, count - from < FIND_CHUNK ? count - from : FIND_CHUNK);
        code = delete_matching(database, collection, &filter, deleted, error);
        bson_destroy(&filter);
    }
    return code;
}

typedef bool update_function(mongoc_collection_t *into, const bson_t *filter, const bson_t *update,
                             const bson_t *options, bson_t *reply, bson_error_t *reason);

/* One try. */
static bool update_once(struct database *database, update_function *run, const char *collection,
                        const bson_t *filter, const bson_t *update, uint64_t *matched,
                        bool *may_retry, struct bw_error *error)
{
    *may_retry = true;
    mongoc_client_t *client = database_client(database, error);
    if (client == NULL)
        return false;
    mongoc_collection_t *into = database_collection(database, client, collection);
    bson_t reply;
    bson_error_t reason;
    bool ok = run(into, filter, update, NULL, &reply, &reason);
    bson_iter_t field;
    if (ok) {
        bool is_reported = bson_iter_init_find(&field, &reply, "matchedCount");
        *matched = is_reported ? (uint64_t)bson_iter_as_int64(&field) : 0;
    } else {
        *may_retry = !database_is_refusal(&reason);
        database_fail_unavailable(&reason, error);
    }
    bson_destroy(&reply);
    mongoc_collection_destroy(into);
    database_return(database, client);
    return ok;
}

static enum bw_code update_until_done(struct database *database, update_function *run,
                                      const char *collection, const bson_t *filter,
                                      const bson_t *update, uint64_t *matched,
                                      struct bw_error *error)
{
    int64_t until_ms = clock_boot_ms() + UPDATE_TRY_MS;
    bool may_retry;
    while (!update_once(database, run, collection, filter, update, matched, &may_retry, error)) {
        if (!may_retry || database_is_unavailable(database) || clock_boot_ms() >= until_ms)
            return BW_UNAVAILABLE;
        usleep(RETRY_PAUSE_US);
    }
    return BW_OK;
}

enum bw_code database_update(struct database *database, const char *collection,
                             const bson_t *filter, const bson_t *update, bool *matched,
                             struct bw_error *error)
{
    uint64_t count;
    enum bw_code code = update_until_done(database, mongoc_collection_update_one, collection,
                                          filter, update, &count, error);
    if (code == BW_OK)
        *matched = count > 0;
    return code;
}

enum bw_code database_update_try(struct database *database, const char *collection,
                                 const bson_t *filter, const bson_t *update, bool *matched,
                                 struct bw_error *error)
{
    uint64_t count;
    bool unused;
    if (!update_once(database, mongoc_collection_update_one, collection, filter, update, &count,
                     &unused, error))
        return BW_UNAVAILABLE;
    *matched = count > 0;
    return BW_OK;
}

enum bw_code database_update_many(struct database *database, const char *collection,
                                  const bson_t *filter, const bson_t *update, uint64_t *matched,
                                  struct bw_error *error)
{
    return update_until_done(database, mongoc_collection_update_many, collection, filter, update,
                             matched, error);
}

/* One try of all. */
static bool update_each_once(struct database *database, const char *collection,
                             const struct database_change *changes, size_t count, bool *may_retry,
                             struct bw_error *error)
{
    *may_retry = true;
    mongoc_client_t *client = database_client(database, error);
    if (client == NULL)
        return false;
    mongoc_collection_t *into = database_collection(database, client, collection);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(into, NULL);
    bson_error_t reason = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = mongoc_bulk_operation_update_one_with_opts(bulk, &changes[i].filter,
                                                        &changes[i].update, NULL, &reason);
    ok = ok && mongoc_bulk_operation_execute(bulk, NULL, &reason) != 0;
    if (!ok) {
        *may_retry = !database_is_refusal(&reason);
        database_fail_unavailable(&reason, error);
    }
    mongoc_bulk_operation_destroy(bulk);
    mongoc_collection_destroy(into);
    database_return(database, client);
    return ok;
}

enum bw_code database_update_each(struct database *database, const char *collection,
                                  const struct database_change *changes, size_t count,
                                  struct bw_error *error)
{
    int64_t until_ms = clock_boot_ms() + UPDATE_TRY_MS;
    bool may_retry;
    while (count > 0 &&
           !update_each_once(database, collection, changes, count, &may_retry, error)) {
        if (!may_retry || clock_boot_ms() >= until_ms)
            return BW_UNAVAILABLE;
        usleep(RETRY_PAUSE_US);
    }
    return BW_OK;
}
