#include "common/base/alloc.h"
#include "common/store/run_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/group_commit.h"
#include "common/db/document.h"
#include "common/domain/supersede.h"
#include "common/store/store.h"

#define COLLECTION "grading_runs"

enum {
    TRY_MS = 10000,
    FIND_CHUNK = 64 /* the embedded database takes longer than linearly for a longer list */
};

/* Fields that exist once per kind of job, by enum job_kind. */
static const char *const has_stages_fields[] = {"pre_has_stages", "student_has_stages",
                                                "post_has_stages"};
static const char *const timeout_fields[] = {"pre_timeout_ms", "student_timeout_ms",
                                             "post_timeout_ms"};
static const char *const untimed_fields[] = {"pre_untimed_stages", "student_untimed_stages",
                                             "post_untimed_stages"};
/* Written for versions before untimed_stages. */
static const char *const all_timeouts_fields[] = {"pre_all_timeouts", "student_all_timeouts",
                                                  "post_all_timeouts"};

struct run_store {
    struct store base;
};

enum bw_code run_store_open(struct database *database, struct run_store **store,
                            struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 256,
        .max_bytes = 8 * 1024 * 1024,
        .fails_fast = true,
        .fetches_duplicates = true,
        .excluded_fields = {"summary", "definition", "supersede_keys"},
    };
    struct run_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void run_store_close(struct run_store *store)
{
    store_close(store);
}

void run_id_new(char id[RUN_ID_SIZE])
{
    bson_oid_t oid;
    bson_oid_init(&oid, NULL);
    bson_oid_to_string(&oid, id);
}

/* False for an invalid id: then nothing is appended. */
static bool append_id(bson_t *document, const char *run_id)
{
    bson_oid_t oid;
    if (!is_hex_id(run_id, RUN_ID_LENGTH))
        return false;
    bson_oid_init_from_string(&oid, run_id);
    return BSON_APPEND_OID(document, "_id", &oid);
}

/* {_id}: every filter begins here. On failure nothing may be sent: without its _id the filter would
 * match other runs. */
static enum bw_code begin_filter(bson_t *filter, const char *run_id, struct bw_error *error)
{
    bson_init(filter);
    if (append_id(filter, run_id))
        return BW_OK;
    bson_destroy(filter);
    return bw_fail(error, BW_NOT_FOUND, "there is no grading run '%.40s'", run_id);
}

/* The fields by which run_listing finds the run. */
static void append_terms(bson_t *document, const struct run *run)
{
    json_auto_t *labels = run->labels != NULL ? json_loads(run->labels, 0, NULL) : NULL;
    json_auto_t *terms = run_terms(run->course, run->assignment, run->name, labels);
    size_t index;
    json_t *term;
    char buffer[16];
    bson_t list;
    if (run->labels != NULL)
        BSON_APPEND_UTF8(document, "labels", run->labels);
    BSON_APPEND_UTF8(document, "scope", json_string_value(json_array_get(terms, 0)));
    BSON_APPEND_ARRAY_BEGIN(document, "terms", &list);
    json_array_foreach (terms, index, term)
        bson_append_utf8(&list, document_key(index, buffer), -1, json_string_value(term), -1);
    bson_append_array_end(document, &list);
}

/* Absent fields have the defaults, as in the runs of earlier versions. */
static void append_scheduling(bson_t *document, const struct run *run)
{
    if (run->run_class != RUN_CLASS_NORMAL)
        BSON_APPEND_UTF8(document, "class", run_class_name(run->run_class));
    if (run->requires != NULL)
        BSON_APPEND_UTF8(document, "requires", run->requires);
    if (run->submitter[0] != '\0')
        BSON_APPEND_UTF8(document, "submitter", run->submitter);
}

/* A class that only a later version knows counts as the default. */
static void read_scheduling(const bson_t *document, struct run *run)
{
    struct long_text requires = {NULL, 0};
    char name[16];
    if (document_text(document, "class", name, sizeof name))
        (void)run_class_find(name, &run->run_class);
    document_text(document, "submitter", run->submitter, sizeof run->submitter);
    document_long_text(document, "requires", &requires);
    run->requires = requires.text;
}

/* False: the run's id is invalid. */
static bool run_to_document(const struct run *run, bson_t *document)
{
    if (!append_id(document, run->id))
        return false;
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, nonce_new());
    if (run->name[0] != '\0')
        BSON_APPEND_UTF8(document, "name", run->name);
    BSON_APPEND_UTF8(document, "protocol", protocol_name(run->protocol));
    if (run->course[0] != '\0') {
        BSON_APPEND_UTF8(document, "course", run->course);
        BSON_APPEND_UTF8(document, "assignment", run->assignment);
    }
    if (run->rerun_of[0] != '\0')
        BSON_APPEND_UTF8(document, "rerun_of", run->rerun_of);
    if (run->traceparent[0] != '\0')
        BSON_APPEND_UTF8(document, "traceparent", run->traceparent);
    BSON_APPEND_BOOL(document, "has_pre", run->has_pre);
    BSON_APPEND_BOOL(document, "has_post", run->has_post);
    BSON_APPEND_INT64(document, "students", run->students);
    BSON_APPEND_INT32(document, "priority", run->priority);
    BSON_APPEND_INT32(document, "max_attempts", run->max_attempts);
    if (run->breaker.limit > 0)
        BSON_APPEND_INT64(document, "breaker", run->breaker.limit);
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++) {
        BSON_APPEND_BOOL(document, has_stages_fields[kind], run->has_stages[kind]);
        BSON_APPEND_INT64(document, timeout_fields[kind], run->timeout_ms[kind]);
        BSON_APPEND_INT32(document, untimed_fields[kind], (int32_t)run->untimed_stages[kind]);
        BSON_APPEND_BOOL(document, all_timeouts_fields[kind], run->untimed_stages[kind] == 0);
    }
    if (run->keys != NULL) {
        bson_append_double(document, "supersede_share", -1, run->supersede_share);
        BSON_APPEND_BINARY(document, "supersede_keys", BSON_SUBTYPE_BINARY, run->keys,
                           run->students * SUPERSEDE_DIGEST_BYTES);
    }
    BSON_APPEND_UTF8(document, "state", run_phase_name(RUN_CREATED));
    BSON_APPEND_DATE_TIME(document, "created_at", run->created_ms);
    append_scheduling(document, run);
    append_terms(document, run);
    return true;
}

/* Earlier versions did not say. */
static enum protocol run_read_protocol(const bson_t *document, const struct run *run)
{
    char name[16];
    enum protocol protocol = protocol_by_course(run->course[0] != '\0');
    if (document_text(document, "protocol", name, sizeof name))
        (void)protocol_find(name, &protocol);
    return protocol;
}

static void run_read_breaker(const bson_t *document, struct breaker *breaker)
{
    breaker->limit = (uint32_t)document_integer(document, "breaker", 0);
    breaker->count = (uint32_t)document_integer(document, "breaker_count", 0);
    breaker->is_over = document_boolean(document, "breaker_over", false);
    document_text(document, "breaker_signature", breaker->signature, sizeof breaker->signature);
}

/* Reads keys, their share, and the place. Keys of another length count as none. */
static void run_read_supersede(const bson_t *document, struct run *run)
{
    bson_iter_t field, place;
    const uint8_t *bytes;
    uint32_t length;
    run->has_keys = bson_iter_init_find(&field, document, "supersede_share");
    if (run->has_keys)
        run->supersede_share = bson_iter_as_double(&field);
    if (bson_iter_init_find(&field, document, "supersede_keys") && BSON_ITER_HOLDS_BINARY(&field)) {
        bson_iter_binary(&field, NULL, &length, &bytes);
        if (length == run->students * SUPERSEDE_DIGEST_BYTES) {
            run->keys = bw_alloc(length + 1);
            memcpy(run->keys, bytes, length);
        }
    }
    if (!bson_iter_init(&field, document) ||
        !bson_iter_find_descendant(&field, "place.run", &place))
        return;
    snprintf(run->place.run, sizeof run->place.run, "%s", bson_iter_utf8(&place, NULL));
    if (bson_iter_init(&field, document) &&
        bson_iter_find_descendant(&field, "place.started_at", &place))
        run->place.started_ms = bson_iter_as_int64(&place);
    if (bson_iter_init(&field, document) && bson_iter_find_descendant(&field, "place.slot", &place))
        run->place.slot = (uint32_t)bson_iter_as_int64(&place);
}

bool run_from_document(const bson_t *document, struct run *run)
{
    memset(run, 0, sizeof *run);
    char state[32];
    if (!document_oid(document, "_id", run->id) ||
        !document_text(document, "state", state, sizeof state) ||
        !run_phase_parse(state, &run->phase))
        return false;
    document_text(document, "name", run->name, sizeof run->name);
    document_text(document, "course", run->course, sizeof run->course);
    document_text(document, "assignment", run->assignment, sizeof run->assignment);
    document_text(document, "rerun_of", run->rerun_of, sizeof run->rerun_of);
    run->has_drift = document_boolean(document, "has_drift", false);
    document_text(document, "traceparent", run->traceparent, sizeof run->traceparent);
    run->protocol = run_read_protocol(document, run);
    run->has_pre = document_boolean(document, "has_pre", false);
    run->has_post = document_boolean(document, "has_post", false);
    run->students = (uint32_t)document_integer(document, "students", 0);
    run->priority = (int)document_integer(document, "priority", 0);
    run->max_attempts = (int)document_integer(document, "max_attempts", 0);
    run_read_breaker(document, &run->breaker);
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++) {
        run->has_stages[kind] = document_boolean(document, has_stages_fields[kind], true);
        run->timeout_ms[kind] = document_integer(document, timeout_fields[kind], 0);
        run->untimed_stages[kind] = (uint32_t)document_integer(
            document, untimed_fields[kind],
            document_boolean(document, all_timeouts_fields[kind], false) ? 0 : 1);
    }
    run->created_ms = document_date(document, "created_at");
    run->started_ms = document_date(document, "started_at");
    run->cancelled_ms = document_date(document, "cancelled_at");
    run->job_cancels = document_integer(document, "job_cancels", 0);
    run->finished_ms = document_date(document, "finished_at");
    run_read_supersede(document, run);
    read_scheduling(document, run);
    bson_iter_t field;
    if (!bson_iter_init_find(&field, document, "summary") || !BSON_ITER_HOLDS_BINARY(&field))
        return true;
    const uint8_t *bytes;
    bson_iter_binary(&field, NULL, &run->summary_length, &bytes);
    run->summary = bw_alloc(run->summary_length + 1);
    memcpy(run->summary, bytes, run->summary_length);
    return true;
}

static void run_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                const bson_t *existing)
{
    struct run_commit *commit = (struct run_commit *)item;
    char first[SHA256_TEXT_SIZE];
    bson_destroy(item->document);
    if (existing != NULL)
        document_text(existing, "digest", first, sizeof first);
    FAILPOINT("after_run_insert");
    commit->completed(commit, outcome, existing != NULL ? first : NULL);
}

void run_store_insert(struct run_store *store, struct run_commit *commit)
{
    bson_t *document = bson_new();
    commit->run.created_ms = database_now_ms(store->base.database);
    if (!run_to_document(&commit->run, document)) {
        bson_destroy(document);
        commit->completed(commit, COMMIT_REFUSED, NULL);
        return;
    }
    if (commit->digest[0] != '\0')
        BSON_APPEND_UTF8(document, "digest", commit->digest);
    if (commit->definition != NULL)
        bson_append_utf8(document, "definition", -1, commit->definition,
                         (int)commit->definition_length);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + TRY_MS,
        .completed = run_store_completed,
    };
    group_commit_submit(store->base.commits, &commit->item);
}

static void take_definition(const bson_t *document, void *context)
{
    document_long_text(document, "definition", context);
}

enum bw_code run_store_read_definition(struct run_store *store, const char *run_id, char **text,
                                       size_t *length, struct bw_error *error)
{
    struct long_text found = {NULL, 0};
    bson_t filter, projection = BSON_INITIALIZER;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    BSON_APPEND_INT32(&projection, "definition", 1);
    code = database_find(store->base.database, COLLECTION, &filter, &projection, take_definition,
                         &found, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    if (code == BW_OK && found.text == NULL)
        return bw_fail(error, BW_NOT_FOUND, "the grading run '%.40s' has no definition", run_id);
    if (code != BW_OK) {
        free(found.text);
        return code;
    }
    *text = found.text;
    *length = found.length;
    return BW_OK;
}

struct digest_reading {
    char *digest; /* SHA256_TEXT_SIZE */
    bool is_found;
};

static void take_digest(const bson_t *document, void *context)
{
    struct digest_reading *reading = context;
    reading->is_found = true;
    document_text(document, "digest", reading->digest, SHA256_TEXT_SIZE);
}

enum bw_code run_store_read_digest(struct run_store *store, const char *run_id,
                                   char digest[SHA256_TEXT_SIZE], struct bw_error *error)
{
    struct digest_reading reading = {digest, false};
    bson_t filter, projection = BSON_INITIALIZER;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    BSON_APPEND_INT32(&projection, "digest", 1);
    code = database_find(store->base.database, COLLECTION, &filter, &projection, take_digest,
                         &reading, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    if (code == BW_OK && !reading.is_found)
        return bw_fail(error, BW_NOT_FOUND, "there is no grading run '%.40s'", run_id);
    return code;
}

struct reading {
    struct run *run;
    int64_t start_nonce;
    bool is_found;
};

static void read_reruns(const bson_t *document, struct run *run)
{
    bson_iter_t field, item;
    if (!bson_iter_init_find(&field, document, "reruns") || !BSON_ITER_HOLDS_ARRAY(&field) ||
        !bson_iter_recurse(&field, &item))
        return;
    while (bson_iter_next(&item)) {
        if (!BSON_ITER_HOLDS_UTF8(&item))
            continue;
        run->reruns = bw_grow(run->reruns, run->rerun_count + 1, sizeof *run->reruns);
        snprintf(run->reruns[run->rerun_count++], RUN_ID_SIZE, "%s", bson_iter_utf8(&item, NULL));
    }
}

static void read_labels(const bson_t *document, struct run *run)
{
    struct long_text labels = {NULL, 0};
    document_long_text(document, "labels", &labels);
    run->labels = labels.text;
}

static void take_run(const bson_t *document, void *context)
{
    struct reading *reading = context;
    if (reading->is_found || document_date(document, "removed_at") != 0)
        return;
    reading->is_found = run_from_document(document, reading->run);
    if (reading->is_found) {
        read_reruns(document, reading->run);
        read_labels(document, reading->run);
    }
    reading->start_nonce = document_integer(document, "start_nonce", 0);
}

static enum bw_code run_store_read_run(struct run_store *store, const char *run_id,
                                       struct reading *reading, struct bw_error *error)
{
    bson_t filter, projection = BSON_INITIALIZER;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    BSON_APPEND_INT32(&projection, "definition", 0);
    BSON_APPEND_INT32(&projection, "supersede_keys", 0);
    code = database_find(store->base.database, COLLECTION, &filter, &projection, take_run, reading,
                         error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    if (code == BW_OK && !reading->is_found)
        return bw_fail(error, BW_NOT_FOUND, "there is no grading run '%.40s'", run_id);
    if (code != BW_OK && reading->is_found)
        run_clear(reading->run);
    return code;
}

enum bw_code run_store_read(struct run_store *store, const char *run_id, struct run *run,
                            struct bw_error *error)
{
    struct run found = {0};
    struct reading reading = {.run = &found};
    enum bw_code code = run_store_read_run(store, run_id, &reading, error);
    if (code == BW_OK)
        *run = found;
    return code;
}

struct run_visit {
    void (*each)(const char *run_id, void *context);
    void *context;
};

static void visit_found(const bson_t *document, void *context)
{
    struct run_visit *visit = context;
    char id[RUN_ID_SIZE];
    if (document_oid(document, "_id", id) && document_date(document, "removed_at") == 0)
        visit->each(id, visit->context);
}

static void run_store_visit_open(const bson_t *document, void *context)
{
    if (document_date(document, "finished_at") == 0)
        visit_found(document, context);
}

/* {_id: {$in: […]}}, of those that can be ids. */
static void append_run_ids(bson_t *filter, const char (*run_ids)[RUN_ID_SIZE], size_t count)
{
    bson_t condition, list;
    uint32_t index = 0;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (size_t i = 0; i < count; i++) {
        char buffer[16];
        bson_oid_t oid;
        if (!is_hex_id(run_ids[i], RUN_ID_LENGTH))
            continue;
        bson_oid_init_from_string(&oid, run_ids[i]);
        BSON_APPEND_OID(&list, document_key(index, buffer), &oid);
        index++;
    }
    bson_append_array_end(&condition, &list);
    bson_append_document_end(filter, &condition);
}

/* Calls `take` with the struct run_visit for those of the runs that are stored. */
static enum bw_code run_store_visit(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                    size_t count,
                                    void (*take)(const bson_t *document, void *context),
                                    struct run_visit *visit, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "removed_at", 1);
    BSON_APPEND_INT32(&projection, "finished_at", 1);
    for (size_t from = 0; code == BW_OK && from < count; from += FIND_CHUNK) {
        bson_t filter = BSON_INITIALIZER;
        append_run_ids(&filter, run_ids + from,
                       count - from < FIND_CHUNK ? count - from : FIND_CHUNK);
        code = database_find(store->base.database, COLLECTION, &filter, &projection, take, visit,
                             error);
        bson_destroy(&filter);
    }
    bson_destroy(&projection);
    return code;
}

enum bw_code run_store_find(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                            size_t count, void (*each)(const char *run_id, void *context),
                            void *context, struct bw_error *error)
{
    return run_store_visit(store, run_ids, count, visit_found, &(struct run_visit){each, context},
                           error);
}

enum bw_code run_store_find_open(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                 size_t count, void (*each)(const char *run_id, void *context),
                                 void *context, struct bw_error *error)
{
    return run_store_visit(store, run_ids, count, run_store_visit_open,
                           &(struct run_visit){each, context}, error);
}

struct run_over_visit {
    void (*each)(const char *run_id, enum run_phase phase, void *context);
    void *context;
};

static void visit_over(const bson_t *document, void *context)
{
    struct run_over_visit *visit = context;
    char id[RUN_ID_SIZE], state[32];
    enum run_phase phase;
    if (document_oid(document, "_id", id) &&
        document_text(document, "state", state, sizeof state) && run_phase_parse(state, &phase) &&
        run_phase_is_over(phase))
        visit->each(id, phase, visit->context);
}

enum bw_code run_store_find_over(struct run_store *store, const char (*run_ids)[RUN_ID_SIZE],
                                 size_t count,
                                 void (*each)(const char *run_id, enum run_phase phase,
                                              void *context),
                                 void *context, struct bw_error *error)
{
    struct run_over_visit visit = {each, context};
    enum bw_code code = BW_OK;
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "state", 1);
    for (size_t from = 0; code == BW_OK && from < count; from += FIND_CHUNK) {
        bson_t filter = BSON_INITIALIZER;
        append_run_ids(&filter, run_ids + from,
                       count - from < FIND_CHUNK ? count - from : FIND_CHUNK);
        code = database_find(store->base.database, COLLECTION, &filter, &projection, visit_over,
                             &visit, error);
        bson_destroy(&filter);
    }
    bson_destroy(&projection);
    return code;
}

static void run_store_note_found(const bson_t *document, void *context)
{
    (void)document;
    *(bool *)context = true;
}

enum bw_code run_store_has_any(struct run_store *store, bool *has_any, struct bw_error *error)
{
    bool is_found = false;
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find_some(store->base.database, COLLECTION, &filter, &projection,
                                           1, run_store_note_found, &is_found, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    if (code == BW_OK)
        *has_any = is_found;
    return code;
}

static void append_exists(bson_t *filter, const char *field, bool exists)
{
    bson_t condition;
    BSON_APPEND_DOCUMENT_BEGIN(filter, field, &condition);
    BSON_APPEND_BOOL(&condition, "$exists", exists);
    bson_append_document_end(filter, &condition);
}

/* {$currentDate: {FIELD: true}}: the database's own date. */
static void append_current_dates(bson_t *update, const char *first, const char *second)
{
    bson_t dates;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$currentDate", &dates);
    BSON_APPEND_BOOL(&dates, first, true);
    if (second != NULL)
        BSON_APPEND_BOOL(&dates, second, true);
    bson_append_document_end(update, &dates);
}

/* Changes a run by `update`, which is destroyed. BW_OK, also if there is no such run. */
static enum bw_code run_store_change(struct run_store *store, const char *run_id, bson_t *update,
                                     struct bw_error *error)
{
    bson_t filter;
    bool matched;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code == BW_OK) {
        code = database_update(store->base.database, COLLECTION, &filter, update, &matched, error);
        bson_destroy(&filter);
    }
    bson_destroy(update);
    return code;
}

enum bw_code run_store_add_rerun(struct run_store *store, const char *run_id, const char *rerun_id,
                                 struct bw_error *error)
{
    bson_t update = BSON_INITIALIZER, set;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$addToSet", &set);
    BSON_APPEND_UTF8(&set, "reruns", rerun_id);
    bson_append_document_end(&update, &set);
    return run_store_change(store, run_id, &update, error);
}

enum bw_code run_store_note_drift(struct run_store *store, const char *run_id,
                                  struct bw_error *error)
{
    bson_t filter, update = BSON_INITIALIZER, set;
    bool matched;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_BOOL(&set, "has_drift", true);
    bson_append_document_end(&update, &set);
    code = database_update_try(store->base.database, COLLECTION, &filter, &update, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

/* After a mismatch, finds the reason: an earlier try of the same call may have succeeded. */
static enum bw_code classify_start(struct run_store *store, const char *run_id, int64_t nonce,
                                   struct bw_error *error)
{
    struct run run = {0};
    struct reading reading = {.run = &run};
    enum bw_code code = run_store_read_run(store, run_id, &reading, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    if (reading.start_nonce == nonce)
        return BW_OK;
    return bw_fail(error, BW_CONFLICT, "the grading run '%s' was %s already", run_id,
                   run.started_ms == 0 ? "cancelled" : "started");
}

enum bw_code run_store_start(struct run_store *store, const char *run_id, enum run_phase first,
                             struct bw_error *error)
{
    int64_t nonce = nonce_new();
    bool is_over = run_phase_is_over(first), matched = false;
    bson_t filter, update = BSON_INITIALIZER, set;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "started_at", false);
    append_exists(&filter, "cancelled_at", false);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", run_phase_name(first));
    BSON_APPEND_INT64(&set, "start_nonce", nonce);
    if (!is_over)
        BSON_APPEND_BOOL(&set, "active", true);
    bson_append_document_end(&update, &set);
    append_current_dates(&update, "started_at", is_over ? "finished_at" : NULL);
    code = database_update(store->base.database, COLLECTION, &filter, &update, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    if (code != BW_OK || matched)
        return code;
    return classify_start(store, run_id, nonce, error);
}

/* Marks a run that has not been started, or one that has. *matched: the run was in that state, and
 * is marked now. */
static enum bw_code mark_cancelled(struct run_store *store, const char *run_id, bool is_started,
                                   bool *matched, struct bw_error *error)
{
    bson_t filter, update = BSON_INITIALIZER, set;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "started_at", is_started);
    append_exists(&filter, "cancelled_at", false);
    append_exists(&filter, "finished_at", false);
    if (!is_started) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
        BSON_APPEND_UTF8(&set, "state", run_phase_name(RUN_CANCELLED));
        bson_append_document_end(&update, &set);
    }
    append_current_dates(&update, "cancelled_at", is_started ? NULL : "finished_at");
    code = database_update(store->base.database, COLLECTION, &filter, &update, matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code run_store_cancel(struct run_store *store, const char *run_id, enum run_phase *phase,
                              struct bw_error *error)
{
    struct run run = {0};
    bool matched = false;
    enum bw_code code = run_store_read(store, run_id, &run, error);
    if (code != BW_OK)
        return code;
    bool is_started = run.started_ms != 0;
    run_clear(&run);
    code = mark_cancelled(store, run_id, is_started, &matched, error);
    if (code == BW_OK && !matched && !is_started) /* it was started in between */
        code = mark_cancelled(store, run_id, true, &matched, error);
    if (code != BW_OK || matched)
        return code;
    code = run_store_read(store, run_id, &run, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    if (run.cancelled_ms != 0)
        return BW_OK;
    *phase = run.phase;
    return bw_fail(error, BW_CONFLICT, "the grading run '%s' is over: it is %s", run_id,
                   run_phase_name(run.phase));
}

enum bw_code run_store_note_job_cancel(struct run_store *store, const char *run_id,
                                       struct bw_error *error)
{
    bson_t filter, update = BSON_INITIALIZER, increments;
    bool matched;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "started_at", true);
    append_exists(&filter, "finished_at", false);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &increments);
    BSON_APPEND_INT64(&increments, "job_cancels", 1);
    bson_append_document_end(&update, &increments);
    code = database_update(store->base.database, COLLECTION, &filter, &update, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    if (code == BW_OK && !matched)
        return bw_fail(error, BW_CONFLICT, "the grading run '%s' is not under way", run_id);
    return code;
}

/* The limit is written with the run, and never changes. */
static void append_breaker(bson_t *set, const struct breaker *breaker)
{
    if (breaker->limit == 0)
        return;
    BSON_APPEND_INT64(set, "breaker_count", breaker->count);
    BSON_APPEND_UTF8(set, "breaker_signature", breaker->signature);
    BSON_APPEND_BOOL(set, "breaker_over", breaker->is_over);
}

enum bw_code run_store_place(struct run_store *store, const char *run_id,
                             const struct run_place *place, struct bw_error *error)
{
    bson_t update = BSON_INITIALIZER, set, fields;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_DOCUMENT_BEGIN(&set, "place", &fields);
    BSON_APPEND_INT64(&fields, "started_at", place->started_ms);
    BSON_APPEND_UTF8(&fields, "run", place->run);
    BSON_APPEND_INT64(&fields, "slot", place->slot);
    bson_append_document_end(&set, &fields);
    bson_append_document_end(&update, &set);
    return run_store_change(store, run_id, &update, error);
}

/* What was foretold of the end is stored beside it. */
static void append_foretold(bson_t *set, const struct foretold_ends *foretold)
{
    bson_t list, row;
    char buffer[16];
    if (foretold->count == 0)
        return;
    BSON_APPEND_ARRAY_BEGIN(set, "foretold", &list);
    for (size_t i = 0; i < foretold->count; i++) {
        bson_append_document_begin(&list, document_key(i, buffer), -1, &row);
        BSON_APPEND_DATE_TIME(&row, "at", foretold->list[i].at_ms);
        BSON_APPEND_DATE_TIME(&row, "p50", foretold->list[i].p50_ms);
        BSON_APPEND_DATE_TIME(&row, "p90", foretold->list[i].p90_ms);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(set, &list);
}

enum bw_code run_store_advance(struct run_store *store, const char *run_id,
                               const struct run_advance *advance, struct bw_error *error)
{
    bool is_over = run_phase_is_over(advance->phase), matched;
    bson_t filter, update = BSON_INITIALIZER, set, unset;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "finished_at", false);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", run_phase_name(advance->phase));
    BSON_APPEND_BINARY(&set, "summary", BSON_SUBTYPE_BINARY, advance->summary,
                       advance->summary_length);
    append_breaker(&set, advance->breaker);
    if (is_over)
        append_foretold(&set, advance->foretold);
    if (is_over && advance->ended_ms != 0)
        BSON_APPEND_DATE_TIME(&set, "finished_at", advance->ended_ms);
    bson_append_document_end(&update, &set);
    if (is_over) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &unset);
        BSON_APPEND_UTF8(&unset, "active", "");
        bson_append_document_end(&update, &unset);
    }
    if (is_over && advance->ended_ms == 0)
        append_current_dates(&update, "finished_at", NULL);
    code = database_update(store->base.database, COLLECTION, &filter, &update, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

struct run_list {
    struct run *runs;
    size_t count, room;
};

static void collect_run(const bson_t *document, void *context)
{
    struct run_list *list = context;
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->runs = bw_grow(list->runs, list->room, sizeof *list->runs);
    }
    if (run_from_document(document, &list->runs[list->count]))
        list->count++;
}

enum bw_code run_store_read_active(struct run_store *store, bool with_summary, struct run **runs,
                                   size_t *count, struct bw_error *error)
{
    struct run_list list = {0};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_BOOL(&filter, "active", true);
    BSON_APPEND_INT32(&projection, "definition", 0);
    if (!with_summary)
        BSON_APPEND_INT32(&projection, "summary", 0);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, &projection,
                                      collect_run, &list, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    *runs = list.runs;
    *count = list.count;
    return code;
}

enum bw_code run_store_read_ended(struct run_store *store, int64_t before_ms, int64_t limit,
                                  struct run **runs, size_t *count, struct bw_error *error)
{
    struct run_list list = {0};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, condition;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "finished_at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$lt", before_ms);
    bson_append_document_end(&filter, &condition);
    BSON_APPEND_INT32(&projection, "summary", 0);
    BSON_APPEND_INT32(&projection, "definition", 0);
    BSON_APPEND_INT32(&projection, "supersede_keys", 0);
    BSON_APPEND_INT32(&projection, "requires", 0);
    enum bw_code code = database_find_some(store->base.database, COLLECTION, &filter, &projection,
                                           limit, collect_run, &list, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    *runs = list.runs;
    *count = list.count;
    return code;
}

struct entry_list {
    struct run_entry *entries;
    size_t count, room;
};

static void collect_entry(const bson_t *document, void *context)
{
    struct entry_list *list = context;
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->entries = bw_grow(list->entries, list->room, sizeof *list->entries);
    }
    struct run_entry *entry = &list->entries[list->count];
    *entry = (struct run_entry){.created_ms = document_date(document, "created_at")};
    document_text(document, "rerun_of", entry->rerun_of, sizeof entry->rerun_of);
    if (document_oid(document, "_id", entry->id) && document_date(document, "removed_at") == 0)
        list->count++;
}

enum bw_code run_store_read_course(struct run_store *store, const char *course,
                                   const char *assignment, struct run_entry **entries,
                                   size_t *count, struct bw_error *error)
{
    static const char *const shown[] = {"created_at", "rerun_of", "removed_at"};
    struct entry_list list = {0};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    char *term = assignment != NULL ? run_assignment_term(course, assignment)
                                    : run_scope_term(course);
    BSON_APPEND_UTF8(&filter, "terms", term);
    free(term);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        BSON_APPEND_INT32(&projection, shown[i], 1);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, &projection,
                                      collect_entry, &list, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    *entries = list.entries;
    *count = list.count;
    return code;
}

enum bw_code run_store_hide(struct run_store *store, const char *run_id, struct bw_error *error)
{
    bool matched;
    bson_t filter, update = BSON_INITIALIZER;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "finished_at", true);
    append_current_dates(&update, "removed_at", NULL);
    code = database_update(store->base.database, COLLECTION, &filter, &update, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code run_store_delete(struct run_store *store, const char *run_id, struct bw_error *error)
{
    bson_t filter;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "removed_at", true);
    code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}
