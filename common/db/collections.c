#include "common/db/collections.h"

#include <string.h>

enum {
    SIGNAL_TTL_SECONDS = 60,
    LOG_CHUNK_TTL_SECONDS = 24 * 3600,
    DELIVERY_TTL_SECONDS = 7 * 24 * 3600, /* after a delivery has ended */
    HISTORY_TTL_SECONDS = 7 * 24 * 3600,
    JOB_TIMES_TTL_SECONDS = 400 * 24 * 3600,
    NAMESPACE_EXISTS = 48
};

/* Each collection is created before its first insert, which would also create it: SecantusDB hangs
 * forever if that happens while another connection creates an index in the same collection. */
static const char *const collections[] = {
    "api_replicas", "audit",       "courses",         "file_uploads",       "file_uses",
    "files.chunks", "files.files", "grading_configs", "grading_runs",       "history",
    "image_pins",   "job_leases",  "job_logs",        "job_results",        "job_times",
    "leader",       "log_chunks",  "pauses",          "run_definitions",    "run_receipts",
    "scheduling",   "settings",    "signals",         "webhook_deliveries", "webhooks",
    "workers",
};

/* The hot collections have none, since each would halve the rate of inserts. */
static const struct index {
    const char *collection;
    const char *key; /* the fields, separated by commas */
    const char *name;
    int ttl_seconds; /* 0: none */
    bool is_sparse;
} indices[] = {
    {"signals", "at", "signals_ttl", SIGNAL_TTL_SECONDS, false},
    {"log_chunks", "at", "log_chunks_ttl", LOG_CHUNK_TTL_SECONDS, false},
    {"grading_runs", "active", "runs_active", 0, true},
    {"grading_runs", "finished_at", "runs_finished_at", 0, true},
    {"grading_runs", "terms,created_at,_id", "runs_terms", 0, false},
    {"grading_runs", "scope,state,created_at,_id", "runs_state", 0, false},
    {"file_uses", "file", "uses_file", 0, false},
    {"files.files", "used_at", "files_used_at", 0, false},
    {"audit", "at,_id", "audit_at", 0, false},
    {"audit", "entries.course,at,_id", "audit_course", 0, false},
    {"audit", "entries.run,at,_id", "audit_run", 0, false},
    {"webhooks", "scope", "webhooks_scope", 0, false},
    {"webhook_deliveries", "queue", "deliveries_queue", 0, true},
    {"webhook_deliveries", "webhook,at,_id", "deliveries_webhook", 0, false},
    {"history", "at", "history_ttl", HISTORY_TTL_SECONDS, false},
    {"job_times", "at", "job_times_ttl", JOB_TIMES_TTL_SECONDS, false},
    {"webhook_deliveries", "ended_at", "deliveries_ttl", DELIVERY_TTL_SECONDS, false},
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

static void append_key_fields(bson_t *key, const char *fields)
{
    for (size_t length; *fields != '\0'; fields += length + (fields[length] == ',')) {
        length = strcspn(fields, ",");
        bson_append_int32(key, fields, (int)length, 1);
    }
}

static bool make_index(mongoc_client_t *client, const char *name, const struct index *index,
                       const bson_t *options, bson_error_t *reason)
{
    bson_t command = BSON_INITIALIZER, list, row, key;
    BSON_APPEND_UTF8(&command, "createIndexes", index->collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "indexes", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &row);
    BSON_APPEND_DOCUMENT_BEGIN(&row, "key", &key);
    append_key_fields(&key, index->key);
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

bool collections_make(mongoc_client_t *client, const char *name,
                      const mongoc_write_concern_t *concern, bson_error_t *reason)
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
