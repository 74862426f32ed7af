#include "common/base/alloc.h"
#include "common/store/run_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/group_commit.h"
#include "common/db/document.h"

#define COLLECTION "grading_runs"

enum { TRY_MS = 10000 };

/* Fields that exist once per kind of job, by enum job_kind. */
static const char *const has_stages_fields[] = {"pre_has_stages", "student_has_stages",
                                                "post_has_stages"};
static const char *const timeout_fields[] = {"pre_timeout_ms", "student_timeout_ms",
                                             "post_timeout_ms"};
static const char *const untimed_fields[] = {"pre_untimed_stages", "student_untimed_stages",
                                             "post_untimed_stages"};
/* What versions before untimed_stages know instead; written for them. */
static const char *const all_timeouts_fields[] = {"pre_all_timeouts", "student_all_timeouts",
                                                  "post_all_timeouts"};

struct run_store {
    struct database *database;
    struct group_commit *commits;
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
        .excluded_fields = {"summary", "definition"},
    };
    struct run_store *self = bw_alloc(sizeof *self);
    self->database = database;
    enum bw_code code = group_commit_open(database, &settings, &self->commits, error);
    if (code != BW_OK) {
        free(self);
        return code;
    }
    *store = self;
    return BW_OK;
}

void run_store_close(struct run_store *store)
{
    if (store == NULL)
        return;
    group_commit_close(store->commits);
    free(store);
}

void run_clear(struct run *run)
{
    free(run->summary);
    run->summary = NULL;
    run->summary_length = 0;
}

void run_id_new(char id[RUN_ID_SIZE])
{
    bson_oid_t oid;
    bson_oid_init(&oid, NULL);
    bson_oid_to_string(&oid, id);
}

/* False for what can't be an id: then nothing is appended. */
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

/* False: the run's id is none. */
static bool run_to_document(const struct run *run, bson_t *document)
{
    if (!append_id(document, run->id))
        return false;
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, nonce_new());
    if (run->name[0] != '\0')
        BSON_APPEND_UTF8(document, "name", run->name);
    if (run->course[0] != '\0') {
        BSON_APPEND_UTF8(document, "course", run->course);
        BSON_APPEND_UTF8(document, "assignment", run->assignment);
    }
    BSON_APPEND_BOOL(document, "has_pre", run->has_pre);
    BSON_APPEND_BOOL(document, "has_post", run->has_post);
    BSON_APPEND_INT64(document, "students", run->students);
    BSON_APPEND_INT32(document, "priority", run->priority);
    BSON_APPEND_INT32(document, "max_attempts", run->max_attempts);
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++) {
        BSON_APPEND_BOOL(document, has_stages_fields[kind], run->has_stages[kind]);
        BSON_APPEND_INT64(document, timeout_fields[kind], run->timeout_ms[kind]);
        BSON_APPEND_INT32(document, untimed_fields[kind], (int32_t)run->untimed_stages[kind]);
        BSON_APPEND_BOOL(document, all_timeouts_fields[kind], run->untimed_stages[kind] == 0);
    }
    BSON_APPEND_UTF8(document, "state", run_phase_name(RUN_CREATED));
    BSON_APPEND_DATE_TIME(document, "created_at", run->created_ms);
    return true;
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
    run->has_pre = document_boolean(document, "has_pre", false);
    run->has_post = document_boolean(document, "has_post", false);
    run->students = (uint32_t)document_integer(document, "students", 0);
    run->priority = (int)document_integer(document, "priority", 0);
    run->max_attempts = (int)document_integer(document, "max_attempts", 0);
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
    run->finished_ms = document_date(document, "finished_at");
    bson_iter_t field;
    if (!bson_iter_init_find(&field, document, "summary") || !BSON_ITER_HOLDS_BINARY(&field))
        return true;
    const uint8_t *bytes;
    bson_iter_binary(&field, NULL, &run->summary_length, &bytes);
    run->summary = bw_alloc(run->summary_length + 1);
    memcpy(run->summary, bytes, run->summary_length);
    return true;
}

static void run_store_settled(struct commit_item *item, enum commit_outcome outcome,
                              const bson_t *existing)
{
    struct run_commit *commit = (struct run_commit *)item;
    char first[SHA256_TEXT_SIZE];
    bson_destroy(item->document);
    if (existing != NULL)
        document_text(existing, "digest", first, sizeof first);
    FAILPOINT("after_run_insert");
    commit->settled(commit, outcome, existing != NULL ? first : NULL);
}

void run_store_insert(struct run_store *store, struct run_commit *commit)
{
    bson_t *document = bson_new();
    commit->run.created_ms = database_now_ms(store->database);
    if (!run_to_document(&commit->run, document)) {
        bson_destroy(document);
        commit->settled(commit, COMMIT_REFUSED, NULL);
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
        .settled = run_store_settled,
    };
    group_commit_submit(store->commits, &commit->item);
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
    code = database_find(store->database, COLLECTION, &filter, &projection, take_definition, &found,
                         error);
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

struct reading {
    struct run *run;
    int64_t start_nonce;
    bool is_found;
};

static void take_run(const bson_t *document, void *context)
{
    struct reading *reading = context;
    if (reading->is_found || document_date(document, "removed_at") != 0)
        return;
    reading->is_found = run_from_document(document, reading->run);
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
    code = database_find(store->database, COLLECTION, &filter, &projection, take_run, reading,
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

static void note_found(const bson_t *document, void *context)
{
    (void)document;
    *(bool *)context = true;
}

enum bw_code run_store_has_any(struct run_store *store, bool *has_any, struct bw_error *error)
{
    bool is_found = false;
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find_some(store->database, COLLECTION, &filter, &projection, 1,
                                           note_found, &is_found, error);
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

/* Who did not match asks why: it may have been an earlier try of its own. */
static enum bw_code judge_start(struct run_store *store, const char *run_id, int64_t nonce,
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
    code = database_update(store->database, COLLECTION, &filter, &update, &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    if (code != BW_OK || matched)
        return code;
    return judge_start(store, run_id, nonce, error);
}

/* Marks a run that has not been started, or one that has. *matched: it was so, and is marked now.
 */
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
    code = database_update(store->database, COLLECTION, &filter, &update, matched, error);
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

enum bw_code run_store_advance(struct run_store *store, const char *run_id, enum run_phase phase,
                               int64_t ended_ms, const uint8_t *summary, uint32_t summary_length,
                               struct bw_error *error)
{
    bool is_over = run_phase_is_over(phase), matched;
    bson_t filter, update = BSON_INITIALIZER, set, unset;
    enum bw_code code = begin_filter(&filter, run_id, error);
    if (code != BW_OK)
        return code;
    append_exists(&filter, "finished_at", false);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "state", run_phase_name(phase));
    BSON_APPEND_BINARY(&set, "summary", BSON_SUBTYPE_BINARY, summary, summary_length);
    if (is_over && ended_ms != 0)
        BSON_APPEND_DATE_TIME(&set, "finished_at", ended_ms);
    bson_append_document_end(&update, &set);
    if (is_over) {
        BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &unset);
        BSON_APPEND_UTF8(&unset, "active", "");
        bson_append_document_end(&update, &unset);
    }
    if (is_over && ended_ms == 0)
        append_current_dates(&update, "finished_at", NULL);
    code = database_update(store->database, COLLECTION, &filter, &update, &matched, error);
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
    enum bw_code code = database_find(store->database, COLLECTION, &filter, &projection,
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
    enum bw_code code = database_find_some(store->database, COLLECTION, &filter, &projection, limit,
                                           collect_run, &list, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    *runs = list.runs;
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
    code = database_update(store->database, COLLECTION, &filter, &update, &matched, error);
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
    code = database_delete(store->database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}
