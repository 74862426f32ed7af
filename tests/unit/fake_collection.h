/*
 * fake_collection: a fake of common/db/database and of the driver's insert: one collection in
 * memory that records every insert, and holds it back or fails it on demand. For unit tests of
 * group_commit. Include once per test program.
 */
#ifndef TESTS_UNIT_FAKE_COLLECTION_H
#define TESTS_UNIT_FAKE_COLLECTION_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/clock.h"
#include "common/db/database.h"
#include "common/db/document.h"

enum {
    FAKE_INSERTS = 4096,
    FAKE_ID_SIZE = 24,
    FAKE_TEXT_SIZE = 64,
    FAKE_WAIT_MS = 20000,
    FAKE_DUPLICATE = 11000,
    FAKE_PASSING = 11600,  /* interrupted at shutdown */
    FAKE_FOR_GOOD = 121,   /* document failed validation */
    FAKE_TOO_LARGE = 10334 /* bson object too large */
};

/* One recorded insert. */
struct fake_insert {
    char ids[FAKE_TEXT_SIZE]; /* the ids of its documents, as in "a b c"; truncated */
    size_t count;
    bool is_unordered;
    int64_t w; /* write concern; -1: not given */
    int64_t came_ms;
};

struct fake_document {
    char id[FAKE_ID_SIZE];
    bson_t *document;
    UT_hash_handle hh;
};

static struct {
    pthread_mutex_t mutex; /* guards all fields below */
    pthread_cond_t changed;
    struct fake_insert inserts[FAKE_INSERTS];
    size_t count;
    struct fake_document *stored;
    int borrowed; /* clients and collections that were not returned */
    /* Set by the test: */
    bool is_held;                   /* inserts wait until this is false */
    size_t outage_from, outage_end; /* inserts with these numbers fail temporarily */
    size_t lost_every;              /* each Nth insert is stored, but not durably */
    const char *poison[2]; /* ids: an insert with one of them fails as a whole, permanently */
    const char *refused;   /* an id that alone fails, with `refusal` */
    int refusal;
    size_t refusals;                  /* this many times */
    bool is_unavailable;              /* the result of the last probe */
    size_t clientless;                /* this many tries get no client */
    size_t failing_finds, late_finds; /* this many finds fail, or return nothing yet */
    size_t finds;
} fake;

static inline void fake_open(void)
{
    memset(&fake, 0, sizeof fake);
    pthread_mutex_init(&fake.mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&fake.changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static inline void fake_close(void)
{
    struct fake_document *stored, *following;
    HASH_ITER (hh, fake.stored, stored, following) {
        HASH_DELETE(hh, fake.stored, stored);
        bson_destroy(stored->document);
        free(stored);
    }
    pthread_cond_destroy(&fake.changed);
    pthread_mutex_destroy(&fake.mutex);
}

static inline void fake_hold(bool is_held)
{
    pthread_mutex_lock(&fake.mutex);
    fake.is_held = is_held;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.mutex);
}

/* Waits until *number is `wanted` or more, with the mutex held. False: timed out. */
static inline bool fake_wait(const size_t *number, size_t wanted)
{
    struct timespec until = clock_deadline(FAKE_WAIT_MS);
    while (*number < wanted)
        if (pthread_cond_timedwait(&fake.changed, &fake.mutex, &until) != 0)
            break;
    return *number >= wanted;
}

static inline bool fake_wait_inserts(size_t wanted)
{
    pthread_mutex_lock(&fake.mutex);
    bool came = fake_wait(&fake.count, wanted);
    pthread_mutex_unlock(&fake.mutex);
    return came;
}

static inline size_t fake_insert_count(void)
{
    pthread_mutex_lock(&fake.mutex);
    size_t count = fake.count;
    pthread_mutex_unlock(&fake.mutex);
    return count;
}

static inline struct fake_insert fake_insert_at(size_t number)
{
    pthread_mutex_lock(&fake.mutex);
    struct fake_insert insert = fake.inserts[number];
    pthread_mutex_unlock(&fake.mutex);
    return insert;
}

static inline const char *fake_id(const bson_t *document, char id[FAKE_ID_SIZE])
{
    char hex[25];
    if (document_oid(document, "_id", hex))
        snprintf(id, FAKE_ID_SIZE, "%s", hex + 1); /* 23 digits are unique enough */
    else
        document_text(document, "_id", id, FAKE_ID_SIZE);
    return id;
}

static inline struct fake_document *fake_find(const char *id)
{
    struct fake_document *stored;
    HASH_FIND_STR(fake.stored, id, stored);
    return stored;
}

static inline void fake_store(const bson_t *document)
{
    struct fake_document *stored = calloc(1, sizeof *stored);
    fake_id(document, stored->id);
    stored->document = bson_copy(document);
    HASH_ADD_STR(fake.stored, id, stored);
}

/* ---- common/database ---- */

static inline void fake_borrow(int count)
{
    pthread_mutex_lock(&fake.mutex);
    fake.borrowed += count;
    pthread_mutex_unlock(&fake.mutex);
}

mongoc_client_t *database_client(struct database *database, struct bw_error *error)
{
    (void)database;
    pthread_mutex_lock(&fake.mutex);
    bool is_unavailable = fake.clientless > 0;
    if (is_unavailable)
        fake.clientless--;
    else
        fake.borrowed++;
    pthread_mutex_unlock(&fake.mutex);
    if (is_unavailable)
        bw_fail(error, BW_UNAVAILABLE, "no client, as asked");
    return is_unavailable ? NULL : (mongoc_client_t *)&fake;
}

void database_return(struct database *database, mongoc_client_t *client)
{
    (void)database;
    (void)client;
    fake_borrow(-1);
}

mongoc_collection_t *database_collection(struct database *database, mongoc_client_t *client,
                                         const char *name)
{
    (void)database;
    (void)client;
    (void)name;
    fake_borrow(1);
    return (mongoc_collection_t *)&fake;
}

void mongoc_collection_destroy(mongoc_collection_t *collection)
{
    (void)collection;
    fake_borrow(-1);
}

bool database_is_unavailable(const struct database *database)
{
    (void)database;
    pthread_mutex_lock(&fake.mutex);
    bool is_unavailable = fake.is_unavailable;
    pthread_mutex_unlock(&fake.mutex);
    return is_unavailable;
}

bool database_is_refusal(const bson_error_t *error)
{
    return error->domain == MONGOC_ERROR_SERVER &&
           (error->code == FAKE_FOR_GOOD || error->code == FAKE_TOO_LARGE);
}

/* Copies the document without the fields that the projection excludes. */
static inline void fake_project(const bson_t *document, const bson_t *projection, bson_t *rest)
{
    bson_iter_t field;
    bson_init(rest);
    bson_iter_init(&field, document);
    while (bson_iter_next(&field))
        if (!bson_has_field(projection, bson_iter_key(&field)))
            bson_append_iter(rest, NULL, -1, &field);
}

/* A failing find reports some documents before it fails. */
enum bw_code database_find_same(struct database *database, const char *collection,
                                const bson_t *const *documents, size_t count,
                                const bson_t *projection,
                                void (*each)(const bson_t *document, void *context), void *context,
                                struct bw_error *error)
{
    (void)database;
    (void)collection;
    pthread_mutex_lock(&fake.mutex);
    fake.finds++;
    bool is_failing = fake.failing_finds > 0;
    bool is_late = !is_failing && fake.late_finds > 0;
    fake.failing_finds -= is_failing ? 1 : 0;
    fake.late_finds -= is_late ? 1 : 0;
    for (size_t i = 0; !is_late && i < count; i++) {
        char id[FAKE_ID_SIZE];
        struct fake_document *stored = fake_find(fake_id(documents[i], id));
        bson_t rest;
        if (stored == NULL)
            continue;
        fake_project(stored->document, projection, &rest);
        each(&rest, context);
        bson_destroy(&rest);
    }
    pthread_mutex_unlock(&fake.mutex);
    return is_failing ? bw_fail(error, BW_UNAVAILABLE, "failing as asked") : BW_OK;
}

/* ---- the driver ---- */

static inline bool fake_is_poisoned(const struct fake_insert *insert, const bson_t **documents)
{
    char id[FAKE_ID_SIZE];
    for (size_t i = 0; i < insert->count; i++)
        for (size_t p = 0; p < 2; p++)
            if (fake.poison[p] != NULL && strcmp(fake_id(documents[i], id), fake.poison[p]) == 0)
                return true;
    return false;
}

static inline struct fake_insert *fake_write_down(const bson_t **documents, size_t count,
                                                  const bson_t *options)
{
    struct fake_insert *insert = &fake.inserts[fake.count];
    size_t length = 0;
    char id[FAKE_ID_SIZE];
    bson_iter_t field, w;
    insert->count = count;
    insert->came_ms = clock_boot_ms();
    insert->is_unordered = !document_boolean(options, "ordered", true);
    insert->w = -1;
    if (bson_iter_init(&field, options) && bson_iter_find_descendant(&field, "writeConcern.w", &w))
        insert->w = bson_iter_as_int64(&w);
    for (size_t i = 0; i < count && length < FAKE_TEXT_SIZE; i++)
        length += (size_t)snprintf(insert->ids + length, FAKE_TEXT_SIZE - length, "%s%s",
                                   i > 0 ? " " : "", fake_id(documents[i], id));
    if (fake.count + 1 < FAKE_INSERTS)
        fake.count++;
    pthread_cond_broadcast(&fake.changed);
    return insert;
}

/* Stores one document. Returns 0, or the server's error code. */
static inline int fake_insert_one(const bson_t *document)
{
    char id[FAKE_ID_SIZE];
    fake_id(document, id);
    if (fake.refused != NULL && strcmp(id, fake.refused) == 0 && fake.refusals > 0) {
        fake.refusals--;
        return fake.refusal;
    }
    if (fake_find(id) != NULL)
        return FAKE_DUPLICATE;
    fake_store(document);
    return 0;
}

/* Inserts the documents, and appends an error for each that fails. True: none failed. */
static inline bool fake_insert_each(const bson_t **documents, size_t count, bson_t *reply)
{
    bson_t list, row;
    uint32_t errors = 0;
    BSON_APPEND_ARRAY_BEGIN(reply, "writeErrors", &list);
    for (size_t i = 0; i < count; i++) {
        int code = fake_insert_one(documents[i]);
        char buffer[16];
        const char *key;
        if (code == 0)
            continue;
        bson_uint32_to_string(errors++, &key, buffer, sizeof buffer);
        BSON_APPEND_DOCUMENT_BEGIN(&list, key, &row);
        BSON_APPEND_INT32(&row, "index", (int32_t)i);
        BSON_APPEND_INT32(&row, "code", code);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(reply, &list);
    return errors == 0;
}

static inline void fake_append_concern_error(bson_t *reply)
{
    bson_t list, row;
    BSON_APPEND_ARRAY_BEGIN(reply, "writeConcernErrors", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &row);
    BSON_APPEND_INT32(&row, "code", 64);
    bson_append_document_end(&list, &row);
    bson_append_array_end(reply, &list);
}

bool mongoc_collection_insert_many(mongoc_collection_t *collection, const bson_t **documents,
                                   size_t n_documents, const bson_t *opts, bson_t *reply,
                                   bson_error_t *error)
{
    (void)collection;
    bool ok = false;
    bson_init(reply);
    memset(error, 0, sizeof *error);
    pthread_mutex_lock(&fake.mutex);
    size_t number = fake.count;
    struct fake_insert *insert = fake_write_down(documents, n_documents, opts);
    while (fake.is_held)
        pthread_cond_wait(&fake.changed, &fake.mutex);
    if (number >= fake.outage_from && number < fake.outage_end) {
        error->domain = MONGOC_ERROR_STREAM;
    } else if (fake_is_poisoned(insert, documents)) {
        error->domain = MONGOC_ERROR_SERVER;
        error->code = FAKE_TOO_LARGE;
    } else {
        ok = fake_insert_each(documents, n_documents, reply);
        if (fake.lost_every > 0 && (number + 1) % fake.lost_every == 0) {
            fake_append_concern_error(reply);
            ok = false;
        }
    }
    pthread_mutex_unlock(&fake.mutex);
    return ok;
}

#endif
