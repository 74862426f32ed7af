#include "common/store/job_times_store.h"

#include <stdio.h>

#include "common/base/alloc.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "job_times"

struct job_times_store {
    struct store base;
};

enum bw_code job_times_store_open(struct database *database, struct job_times_store **store,
                                  struct bw_error *error)
{
    struct job_times_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void job_times_store_close(struct job_times_store *store)
{
    store_close(store);
}

static bson_t *job_times_document(const struct job_times_record *record, int64_t at_ms)
{
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", record->key);
    BSON_APPEND_DATE_TIME(document, "at", at_ms);
    BSON_APPEND_UTF8(document, "sketch", record->sketch);
    return document;
}

enum bw_code job_times_store_save(struct job_times_store *store,
                                  const struct job_times_record *records, size_t count,
                                  struct bw_error *error)
{
    bson_t *documents[JOB_TIMES_SAVED_AT_ONCE];
    const char *deleted[JOB_TIMES_SAVED_AT_ONCE];
    size_t document_count = 0, deleted_count = 0;
    int64_t at_ms = database_now_ms(store->base.database);
    for (size_t i = 0; i < count; i++) {
        if (records[i].sketch != NULL)
            documents[document_count++] = job_times_document(&records[i], at_ms);
        else
            deleted[deleted_count++] = records[i].key;
    }
    enum bw_code code = BW_OK;
    if (document_count > 0)
        code = database_replace_each(store->base.database, COLLECTION,
                                     (const bson_t *const *)documents, document_count, error);
    if (code == BW_OK && deleted_count > 0)
        code = database_delete_ids(store->base.database, COLLECTION, deleted, deleted_count, NULL,
                                   error);
    for (size_t i = 0; i < document_count; i++)
        bson_destroy(documents[i]);
    return code;
}

struct job_times_reading {
    struct job_times_record *records; /* JOB_TIMES_MAX */
    size_t count;
    int64_t oldest_ms;
};

static bool job_times_take(const bson_t *document, void *context)
{
    struct job_times_reading *reading = context;
    struct job_times_record *record = &reading->records[reading->count];
    bson_iter_t iter;
    if (bson_iter_init_find(&iter, document, "sketch") && BSON_ITER_HOLDS_UTF8(&iter)) {
        document_text(document, "_id", record->key, sizeof record->key);
        record->sketch = bw_copy(bson_iter_utf8(&iter, NULL));
        reading->oldest_ms = document_date(document, "at");
        reading->count++;
    }
    return reading->count < JOB_TIMES_MAX;
}

/* Those that were written before the oldest one that was read. */
static enum bw_code job_times_store_delete_older(struct job_times_store *store, int64_t oldest_ms,
                                                 struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, before;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "at", &before);
    BSON_APPEND_DATE_TIME(&before, "$lt", oldest_ms);
    bson_append_document_end(&filter, &before);
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

enum bw_code job_times_store_read(struct job_times_store *store, struct job_times_record **records,
                                  size_t *count, struct bw_error *error)
{
    bson_t all = BSON_INITIALIZER, newest_first = BSON_INITIALIZER;
    struct job_times_reading reading = {
        .records = bw_alloc_array(JOB_TIMES_MAX, sizeof *reading.records)};
    BSON_APPEND_INT32(&newest_first, "at", -1);
    enum bw_code code = database_find_first(store->base.database, COLLECTION, &all, &newest_first,
                                            JOB_TIMES_MAX, job_times_take, &reading, error);
    if (code == BW_OK && reading.count == JOB_TIMES_MAX)
        code = job_times_store_delete_older(store, reading.oldest_ms, error);
    bson_destroy(&all);
    bson_destroy(&newest_first);
    if (code != BW_OK) {
        job_times_records_free(reading.records, reading.count);
        return code;
    }
    *records = reading.records;
    *count = reading.count;
    return BW_OK;
}
