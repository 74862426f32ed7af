#include "common/store/history_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "history"

enum { HISTORY_ID_SIZE = 24 };

struct history_store {
    struct store base;
};

enum bw_code history_store_open(struct database *database, struct history_store **store,
                                struct bw_error *error)
{
    struct history_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void history_store_close(struct history_store *store)
{
    store_close(store);
}

int64_t history_store_now_ms(const struct history_store *store)
{
    return database_now_ms(store->base.database);
}

/* ---- Documents ---- */

/* The number of the step, as text. */
static const char *history_id(int64_t at_ms, char id[HISTORY_ID_SIZE])
{
    snprintf(id, HISTORY_ID_SIZE, "%" PRId64, at_ms / HISTORY_STEP_MS);
    return id;
}

static void history_append_load(bson_t *document, const struct history_load *load)
{
    BSON_APPEND_INT64(document, "queued", (int64_t)load->queued);
    BSON_APPEND_INT64(document, "running", (int64_t)load->running);
    BSON_APPEND_INT64(document, "oldest_ms", load->oldest_ms);
    BSON_APPEND_INT64(document, "handed_out", (int64_t)load->handed_out);
    for (unsigned i = OUTCOME_SUCCEEDED; i < OUTCOMES; i++)
        if (load->results[i] != 0)
            bson_append_int64(document, outcome_name((enum job_outcome)i), -1,
                              (int64_t)load->results[i]);
}

static void history_load_from(const bson_t *document, struct history_load *load)
{
    load->queued = (uint64_t)document_integer(document, "queued", 0);
    load->running = (uint64_t)document_integer(document, "running", 0);
    load->oldest_ms = document_integer(document, "oldest_ms", 0);
    load->handed_out = (uint64_t)document_integer(document, "handed_out", 0);
    for (unsigned i = OUTCOME_SUCCEEDED; i < OUTCOMES; i++)
        load->results[i] = (uint64_t)document_integer(document, outcome_name((enum job_outcome)i),
                                                      0);
}

static void history_append_courses(bson_t *document, const struct history_sample *sample)
{
    bson_t list, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "courses", &list);
    for (size_t i = 0; i < sample->count; i++) {
        bson_append_document_begin(&list, document_key(i, buffer), -1, &row);
        BSON_APPEND_UTF8(&row, "protocol", protocol_name(sample->courses[i].protocol));
        BSON_APPEND_UTF8(&row, "course", sample->courses[i].name);
        history_append_load(&row, &sample->courses[i].load);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
}

/* Pairs of a bucket and its count, for those that are not empty. */
static void history_append_waits(bson_t *document, const struct duration_buckets *waits)
{
    bson_t list;
    char buffer[16];
    size_t index = 0;
    BSON_APPEND_ARRAY_BEGIN(document, "waits", &list);
    for (unsigned i = 0; i < DURATION_BUCKETS; i++) {
        if (waits->counts[i] == 0)
            continue;
        bson_append_int64(&list, document_key(index++, buffer), -1, i);
        bson_append_int64(&list, document_key(index++, buffer), -1, waits->counts[i]);
    }
    bson_append_array_end(document, &list);
}

static bson_t *history_document(const struct history_sample *sample)
{
    char id[HISTORY_ID_SIZE];
    bson_t *document = bson_new(), part;
    BSON_APPEND_UTF8(document, "_id", history_id(sample->at_ms, id));
    BSON_APPEND_DATE_TIME(document, "at", sample->at_ms);
    BSON_APPEND_INT64(document, "term", sample->term);
    BSON_APPEND_DOCUMENT_BEGIN(document, "graders", &part);
    BSON_APPEND_INT64(&part, "working", sample->graders.working);
    BSON_APPEND_INT64(&part, "idle", sample->graders.idle);
    BSON_APPEND_INT64(&part, "paused", sample->graders.paused);
    BSON_APPEND_INT64(&part, "faulty", sample->graders.faulty);
    bson_append_document_end(document, &part);
    history_append_waits(document, &sample->waits);
    history_append_courses(document, sample);
    if (sample->other_courses > 0) {
        BSON_APPEND_DOCUMENT_BEGIN(document, "others", &part);
        BSON_APPEND_INT64(&part, "courses", (int64_t)sample->other_courses);
        history_append_load(&part, &sample->others);
        bson_append_document_end(document, &part);
    }
    return document;
}

/* The document or array under that key; false: there is none. `found` borrows from `document`. */
static bool history_part(const bson_t *document, const char *key, bson_t *found)
{
    bson_iter_t iter;
    uint32_t length;
    const uint8_t *data;
    if (!bson_iter_init_find(&iter, document, key))
        return false;
    if (BSON_ITER_HOLDS_DOCUMENT(&iter))
        bson_iter_document(&iter, &length, &data);
    else if (BSON_ITER_HOLDS_ARRAY(&iter))
        bson_iter_array(&iter, &length, &data);
    else
        return false;
    return bson_init_static(found, data, length);
}

static void history_take_waits(const bson_t *list, struct duration_buckets *waits)
{
    bson_iter_t iter;
    if (!bson_iter_init(&iter, list))
        return;
    while (bson_iter_next(&iter)) {
        int64_t bucket = bson_iter_as_int64(&iter);
        if (!bson_iter_next(&iter))
            return;
        if (bucket >= 0 && bucket < DURATION_BUCKETS)
            waits->counts[bucket] = (uint32_t)bson_iter_as_int64(&iter);
    }
}

static void history_take_courses(const bson_t *list, struct history_sample *sample)
{
    bson_iter_t iter;
    if (!bson_iter_init(&iter, list))
        return;
    while (bson_iter_next(&iter)) {
        uint32_t length;
        const uint8_t *data;
        bson_t row;
        char protocol[16], name[WORKER_ID_SIZE];
        if (!BSON_ITER_HOLDS_DOCUMENT(&iter))
            continue;
        bson_iter_document(&iter, &length, &data);
        if (!bson_init_static(&row, data, length))
            continue;
        document_text(&row, "protocol", protocol, sizeof protocol);
        document_text(&row, "course", name, sizeof name);
        history_load_from(&row, &history_sample_add(sample, protocol_parse(protocol), name)->load);
    }
}

static void history_from_document(const bson_t *document, struct history_sample *sample)
{
    bson_t part;
    sample->at_ms = document_date(document, "at");
    sample->term = document_integer(document, "term", 0);
    if (history_part(document, "graders", &part)) {
        sample->graders.working = (uint32_t)document_integer(&part, "working", 0);
        sample->graders.idle = (uint32_t)document_integer(&part, "idle", 0);
        sample->graders.paused = (uint32_t)document_integer(&part, "paused", 0);
        sample->graders.faulty = (uint32_t)document_integer(&part, "faulty", 0);
    }
    if (history_part(document, "waits", &part))
        history_take_waits(&part, &sample->waits);
    if (history_part(document, "courses", &part))
        history_take_courses(&part, sample);
    if (history_part(document, "others", &part)) {
        sample->other_courses = (uint64_t)document_integer(&part, "courses", 0);
        history_load_from(&part, &sample->others);
    }
}

/* ---- Writes and reads ---- */

enum bw_code history_store_insert(struct history_store *store, const struct history_sample *sample,
                                  struct bw_error *error)
{
    bson_t *document = history_document(sample);
    const bson_t *const documents[1] = {document};
    enum bw_code code = database_insert_missing(store->base.database, COLLECTION, documents, 1,
                                                NULL, error);
    bson_destroy(document);
    return code;
}

struct history_reading {
    int64_t from_ms;
    size_t count;
    struct history_sample *samples;
};

static void history_store_take(const bson_t *document, void *context)
{
    struct history_reading *reading = context;
    int64_t index = (document_date(document, "at") - reading->from_ms) / HISTORY_STEP_MS;
    if (index >= 0 && (size_t)index < reading->count && reading->samples[index].at_ms == 0)
        history_from_document(document, &reading->samples[index]);
}

enum bw_code history_store_read(struct history_store *store, int64_t from_ms, size_t count,
                                struct history_sample *samples, struct bw_error *error)
{
    char ids[HISTORY_READ_MAX][HISTORY_ID_SIZE];
    const char *texts[HISTORY_READ_MAX];
    struct history_reading reading = {from_ms, count, samples};
    for (size_t i = 0; i < count; i++)
        texts[i] = history_id(from_ms + (int64_t)i * HISTORY_STEP_MS, ids[i]);
    return database_find_ids(store->base.database, COLLECTION, texts, count, NULL,
                             history_store_take, &reading, error);
}
