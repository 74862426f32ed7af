#include "common/db/schema.h"

enum { SIGNAL_TTL_SECONDS = 60, NAMESPACE_EXISTS = 48 };

/* Each is made before its first insert, which would make it as well: SecantusDB hangs for ever if
 * that happens just while another connection makes an index in the same collection. */
static const char *const collections[] = {
    "api_replicas", "courses", "grading_configs", "grading_runs", "job_leases", "job_logs",
    "job_results",  "leader",  "run_definitions", "settings",     "signals",    "workers",
};

/* The hot collections have none, since each would halve the rate of inserts. */
static const struct index {
    const char *collection, *key, *name;
    int ttl_seconds; /* 0: none */
    bool is_sparse;
} indices[] = {
    {"signals", "at", "signals_ttl", SIGNAL_TTL_SECONDS, false},
    {"grading_runs", "active", "runs_active", 0, true},
    {"grading_runs", "finished_at", "runs_finished_at", 0, true},
};

static bool make_collection(mongoc_client_t *client, const char *name, const char *collection,
                            const bson_t *options, bson_error_t *reason)
{
    bson_t command = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&command, "create", collection);
    bool ok = mongoc_client_write_command_with_opts(client, name, &command, options, NULL, reason);
    bson_destroy(&command);
    return ok || (reason->domain == MONGOC_ERROR_SERVER && reason->code == NAMESPACE_EXISTS);
}

static bool make_index(mongoc_client_t *client, const char *name, const struct index *index,
                       const bson_t *options, bson_error_t *reason)
{
    bson_t command = BSON_INITIALIZER, list, row, key;
    BSON_APPEND_UTF8(&command, "createIndexes", index->collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "indexes", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &row);
    BSON_APPEND_DOCUMENT_BEGIN(&row, "key", &key);
    BSON_APPEND_INT32(&key, index->key, 1);
    bson_append_document_end(&row, &key);
    BSON_APPEND_UTF8(&row, "name", index->name);
    if (index->ttl_seconds > 0)
        BSON_APPEND_INT32(&row, "expireAfterSeconds", index->ttl_seconds);
    if (index->is_sparse)
        BSON_APPEND_BOOL(&row, "sparse", true);
    bson_append_document_end(&list, &row);
    bson_append_array_end(&command, &list);
    bool ok = mongoc_client_write_command_with_opts(client, name, &command, options, NULL, reason);
    bson_destroy(&command);
    return ok;
}

bool schema_make(mongoc_client_t *client, const char *name, const mongoc_write_concern_t *concern,
                 bson_error_t *reason)
{
    bson_t options = BSON_INITIALIZER;
    bool ok = mongoc_write_concern_append((mongoc_write_concern_t *)(uintptr_t)concern, &options);
    for (size_t i = 0; ok && i < sizeof collections / sizeof *collections; i++)
        ok = make_collection(client, name, collections[i], &options, reason);
    for (size_t i = 0; ok && i < sizeof indices / sizeof *indices; i++)
        ok = make_index(client, name, &indices[i], &options, reason);
    bson_destroy(&options);
    return ok;
}
