/*
 * bench-floor: the speed of the database alone, with the documents that a job needs, using only the
 * C driver. Prints one line of JSON.
 *
 *   bench-floor URI DATABASE inserts BATCH SECONDS   leases and results, two writers, a stream open
 *   bench-floor URI DATABASE single COUNT            one journaled insert after the other
 *   bench-floor URI DATABASE delivery COUNT          from an insert to its event in the stream
 */
#include <mongoc/mongoc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/samples.h"

enum { BATCH_MAX = 4096, AWAIT_MS = 500, WARM_UP = 20, PAUSE_NS = 5000000 };

struct floor {
    mongoc_client_pool_t *pool;
    const char *database;
    mongoc_write_concern_t *durable, *quick;
    atomic_bool is_over;
    atomic_uint_fast64_t seen; /* changes */
    atomic_int_fast64_t wanted;
    _Atomic int64_t seen_ns; /* when the wanted change arrived */
};

struct writer {
    struct floor *floor;
    const char *collection;
    bool is_result;
    unsigned batch;
    uint64_t written;
    char error[200];
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench-floor: %s: %s\n", what, why);
    exit(1);
}

static mongoc_collection_t *open_collection(struct floor *floor, mongoc_client_t *client,
                                            const char *name)
{
    mongoc_collection_t *into = mongoc_client_get_collection(client, floor->database, name);
    mongoc_collection_set_write_concern(into, floor->durable);
    return into;
}

/* A document like Broadway's leases and results. */
static bson_t *make_document(const struct writer *writer, uint64_t number)
{
    char id[48];
    snprintf(id, sizeof id, writer->is_result ? "%024x%08llx" : "%024x%08llx.1", 7,
             (unsigned long long)number);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_INT64(document, "nonce", (int64_t)number * 7919);
    BSON_APPEND_UTF8(document, "worker", "0123456789abcdef0123456789abcdef");
    if (writer->is_result) {
        BSON_APPEND_UTF8(document, "outcome", "succeeded");
        BSON_APPEND_UTF8(document, "digest",
                         "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        BSON_APPEND_DATE_TIME(document, "finished_at", 1700000000000);
        BSON_APPEND_UTF8(document, "result", "{\"score\":10}");
    } else {
        BSON_APPEND_INT64(document, "term", 1);
        BSON_APPEND_DATE_TIME(document, "leased_at", 1700000000000);
        BSON_APPEND_DATE_TIME(document, "deadline", 1700000060000);
    }
    return document;
}

static void insert_batch(struct writer *writer, mongoc_collection_t *into)
{
    bson_t *documents[BATCH_MAX], options = BSON_INITIALIZER;
    bson_error_t error;
    for (unsigned i = 0; i < writer->batch; i++)
        documents[i] = make_document(writer, writer->written + i);
    BSON_APPEND_BOOL(&options, "ordered", false);
    if (!mongoc_collection_insert_many(into, (const bson_t **)documents, writer->batch, &options,
                                       NULL, &error))
        die("insert", error.message);
    writer->written += writer->batch;
    for (unsigned i = 0; i < writer->batch; i++)
        bson_destroy(documents[i]);
    bson_destroy(&options);
}

static void *write_on(void *context)
{
    struct writer *writer = context;
    struct floor *floor = writer->floor;
    mongoc_client_t *client = mongoc_client_pool_pop(floor->pool);
    mongoc_collection_t *into = open_collection(floor, client, writer->collection);
    while (!atomic_load(&floor->is_over))
        insert_batch(writer, into);
    mongoc_collection_destroy(into);
    mongoc_client_pool_push(floor->pool, client);
    return NULL;
}

/* ---- The change stream: results and signals, like the scheduler's ---- */

static void build_pipeline(bson_t *pipeline)
{
    static const char text[] =
        "[{\"$match\": {\"operationType\": \"insert\","
        " \"ns.coll\": {\"$in\": [\"job_results\", \"signals\", \"workers\"]}}},"
        " {\"$project\": {\"fullDocument.result\": 0}}]";
    bson_error_t error;
    if (!bson_init_from_json(pipeline, text, -1, &error))
        die("pipeline", error.message);
}

static void note_change(struct floor *floor, const bson_t *change)
{
    bson_iter_t root, field;
    atomic_fetch_add(&floor->seen, 1);
    if (!bson_iter_init(&root, change) ||
        !bson_iter_find_descendant(&root, "fullDocument.number", &field))
        return;
    if (bson_iter_as_int64(&field) == atomic_load(&floor->wanted))
        atomic_store(&floor->seen_ns, now_ns());
}

struct follower {
    struct floor *floor;
    mongoc_client_t *client;
    mongoc_database_t *database;
    mongoc_change_stream_t *stream;
    pthread_t thread;
};

static void *follow(void *context)
{
    struct follower *follower = context;
    const bson_t *change, *reply;
    bson_error_t error;
    while (!atomic_load(&follower->floor->is_over)) {
        if (mongoc_change_stream_next(follower->stream, &change))
            note_change(follower->floor, change);
        else if (mongoc_change_stream_error_document(follower->stream, &error, &reply))
            die("change stream", error.message);
    }
    return NULL;
}

static void follower_open(struct floor *floor, struct follower *follower)
{
    bson_t pipeline, options = BSON_INITIALIZER;
    const bson_t *reply;
    bson_error_t error;
    build_pipeline(&pipeline);
    BSON_APPEND_INT64(&options, "maxAwaitTimeMS", AWAIT_MS);
    follower->floor = floor;
    follower->client = mongoc_client_pool_pop(floor->pool);
    follower->database = mongoc_client_get_database(follower->client, floor->database);
    follower->stream = mongoc_database_watch(follower->database, &pipeline, &options);
    if (mongoc_change_stream_error_document(follower->stream, &error, &reply))
        die("change stream", error.message);
    bson_destroy(&pipeline);
    bson_destroy(&options);
    pthread_create(&follower->thread, NULL, follow, follower);
}

static void follower_close(struct follower *follower)
{
    pthread_join(follower->thread, NULL);
    mongoc_change_stream_destroy(follower->stream);
    mongoc_database_destroy(follower->database);
    mongoc_client_pool_push(follower->floor->pool, follower->client);
}

/* ---- The measurements ---- */

static void sleep_ns(int64_t ns)
{
    struct timespec pause = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    nanosleep(&pause, NULL);
}

static void measure_inserts(struct floor *floor, unsigned batch, double seconds)
{
    struct writer writers[] = {
        {.floor = floor, .collection = "job_leases", .batch = batch},
        {.floor = floor, .collection = "job_results", .is_result = true, .batch = batch}};
    struct follower follower;
    pthread_t threads[2];
    follower_open(floor, &follower);
    int64_t begun = now_ns();
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, write_on, &writers[i]);
    sleep_ns((int64_t)(seconds * 1e9));
    atomic_store(&floor->is_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    double took = (double)(now_ns() - begun) / 1e9;
    uint64_t written = writers[0].written + writers[1].written;
    follower_close(&follower);
    print_json(json_pack("{s:i,s:f,s:I,s:I,s:f,s:f}", "batch", (int)batch, "seconds", took,
                         "documents", (json_int_t)written, "seen",
                         (json_int_t)atomic_load(&floor->seen), "inserts_per_s",
                         (double)written / took, "jobs_per_s", (double)written / 2 / took));
}

static void measure_single(struct floor *floor, unsigned count)
{
    struct writer writer = {.floor = floor,
                            .collection = "job_leases",
                            .batch = 1,
                            .written = 1u << 31}; /* above the numbers that `inserts` has written */
    struct samples samples = {NULL, 0, 0};
    mongoc_client_t *client = mongoc_client_pool_pop(floor->pool);
    mongoc_collection_t *into = open_collection(floor, client, writer.collection);
    for (unsigned i = 0; i < count + WARM_UP; i++) {
        int64_t begun = now_ns();
        insert_batch(&writer, into);
        if (i >= WARM_UP)
            samples_add(&samples, now_ns() - begun);
        sleep_ns(PAUSE_NS);
    }
    mongoc_collection_destroy(into);
    mongoc_client_pool_push(floor->pool, client);
    print_json(samples_json(&samples));
    samples_clear(&samples);
}

static void deliver_once(struct floor *floor, mongoc_collection_t *into, int64_t number,
                         struct samples *samples)
{
    bson_t document = BSON_INITIALIZER;
    bson_error_t error;
    BSON_APPEND_INT64(&document, "number", number);
    atomic_store(&floor->seen_ns, 0);
    atomic_store(&floor->wanted, number);
    int64_t begun = now_ns();
    if (!mongoc_collection_insert_one(into, &document, NULL, NULL, &error))
        die("insert", error.message);
    while (atomic_load(&floor->seen_ns) == 0)
        sleep_ns(50000);
    if (samples != NULL)
        samples_add(samples, atomic_load(&floor->seen_ns) - begun);
    bson_destroy(&document);
}

/* Measures signals, which one member acknowledges without the journal. */
static void measure_delivery(struct floor *floor, unsigned count)
{
    struct samples samples = {NULL, 0, 0};
    struct follower follower;
    follower_open(floor, &follower);
    mongoc_client_t *client = mongoc_client_pool_pop(floor->pool);
    mongoc_collection_t *into = open_collection(floor, client, "signals");
    mongoc_collection_set_write_concern(into, floor->quick);
    for (unsigned i = 1; i <= count + WARM_UP; i++) {
        deliver_once(floor, into, i, i > WARM_UP ? &samples : NULL);
        sleep_ns(PAUSE_NS);
    }
    atomic_store(&floor->is_over, true);
    mongoc_collection_destroy(into);
    mongoc_client_pool_push(floor->pool, client);
    follower_close(&follower);
    print_json(samples_json(&samples));
    samples_clear(&samples);
}

static void floor_open(struct floor *floor, const char *uri_text, const char *database)
{
    bson_error_t error;
    mongoc_uri_t *uri = mongoc_uri_new_with_error(uri_text, &error);
    if (uri == NULL)
        die("URI", error.message);
    floor->pool = mongoc_client_pool_new(uri);
    mongoc_client_pool_set_error_api(floor->pool, MONGOC_ERROR_API_VERSION_2);
    mongoc_uri_destroy(uri);
    floor->database = database;
    floor->durable = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(floor->durable, 8000);
    mongoc_write_concern_set_journal(floor->durable, true);
    floor->quick = mongoc_write_concern_new();
    mongoc_write_concern_set_w(floor->quick, 1);
}

static void floor_close(struct floor *floor)
{
    mongoc_write_concern_destroy(floor->durable);
    mongoc_write_concern_destroy(floor->quick);
    mongoc_client_pool_destroy(floor->pool);
}

int main(int count, char **arguments)
{
    static struct floor floor;
    const char *what = count > 4 ? arguments[3] : "";
    unsigned number = count > 4 ? (unsigned)strtoul(arguments[4], NULL, 10) : 0;
    mongoc_init();
    if (number == 0 || number > BATCH_MAX) {
        fprintf(stderr, "usage: bench-floor URI DATABASE inserts BATCH SECONDS | single COUNT | "
                        "delivery COUNT\n");
        return 2;
    }
    floor_open(&floor, arguments[1], arguments[2]);
    if (strcmp(what, "inserts") == 0 && count > 5)
        measure_inserts(&floor, number, strtod(arguments[5], NULL));
    else if (strcmp(what, "single") == 0)
        measure_single(&floor, number);
    else if (strcmp(what, "delivery") == 0)
        measure_delivery(&floor, number);
    floor_close(&floor);
    mongoc_cleanup();
    return 0;
}
