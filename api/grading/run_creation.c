#include "api/grading/run_creation.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/grading/audit.h"
#include "api/grading/definition_cache.h"
#include "api/grading/run_file_claim.h"
#include "api/grading/webhooks.h"
#include "api/grading/run_spans.h"
#include "api/http/exchange.h"
#include "api/http/thread_pool.h"
#include "api/auth/run_key.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/secret.h"
#include "common/domain/run_files.h"
#include "common/store/definition_store.h"

/* GIVE_UP_MS: a definition without a run is removed after a day. A run that is inserted later than
 * this after its definition might lose it. */
enum { GIVE_UP_MS = 45000, KEY_MAX = 255 };

void run_describe(const struct definition *definition, struct run *run)
{
    struct definition_summary summary = definition_summary(definition);
    *run = (struct run){
        .protocol = definition_protocol(definition),
        .has_pre = summary.has_pre,
        .has_post = summary.has_post,
        .has_stages = {summary.has_pre, summary.student_has_stages, summary.has_post},
        .students = summary.students,
        .priority = summary.priority,
        .run_class = summary.run_class,
        .max_attempts = summary.max_attempts,
        .breaker = {.limit = summary.breaker},
    };
    memcpy(run->timeout_ms, summary.timeout_ms, sizeof run->timeout_ms);
    memcpy(run->untimed_stages, summary.untimed_stages, sizeof run->untimed_stages);
    if (summary.name != NULL)
        snprintf(run->name, sizeof run->name, "%s", summary.name);
    if (summary.submitter != NULL)
        snprintf(run->submitter, sizeof run->submitter, "%s", summary.submitter);
}

/* A run that is being stored. */
struct creation {
    struct api *api;
    struct exchange *exchange;
    run_created *created;
    struct definition *definition;
    char *text; /* of the definition, as it is stored */
    int64_t begun_ms;
    bool was_there;   /* the definition was stored before, and may be removed as orphaned until the
                         run is stored */
    bool is_repeated; /* the run was stored before: its text counts, whose keys may have another
                         order */
    char plain_id[RUN_ID_SIZE]; /* an earlier version may have stored the run under this id; "":
                                   impossible */
    struct definition_commit stored;
    struct audit_commit recorded; /* written beside the run */
    atomic_uint unfinished;       /* of the two: how many are being written */
    bool is_recorded;             /* `recorded` is stored */
    enum bw_code run_code;        /* what became of the run */
    struct bw_error run_error;
    bool has_webhooks;     /* those of the run are stored, or may be */
    struct run_commit run; /* its digest: of the canonical text; "" without an Idempotency-Key */
    char text_digest[SHA256_TEXT_SIZE]; /* the digest that older versions stored */
};

static void creation_free(struct creation *creation)
{
    run_clear(&creation->run.run);
    definition_release(creation->definition);
    free(creation->text);
    free(creation);
}

/* Answers: calls `created`. The creation is freed first: once that is called, the HTTP server may
 * free the rest of the request, in another thread, and the definition is a part of it. */
static void run_creation_answer(struct creation *creation, enum bw_code code,
                                const struct bw_error *error)
{
    struct api *api = creation->api;
    struct exchange *exchange = creation->exchange;
    run_created *created = creation->created;
    struct run run = creation->run.run;
    run.keys = NULL; /* freed with the creation */
    run.labels = NULL;
    run.requires = NULL;
    if (code == BW_OK && !creation->is_repeated)
        run_spans_submitted(api, &run);
    if (code == BW_OK && !creation->is_repeated)
        definition_cache_put(api->definitions, run.id, creation->definition);
    creation_free(creation);
    created(api, exchange, code, &run, code == BW_OK ? NULL : error);
}

/* Deletes the webhooks of a run that is refused. On the thread pool. */
static void remove_webhooks(void *context)
{
    struct creation *creation = context;
    const struct bw_error error = creation->run_error;
    webhooks_remove_of_run(creation->api, &creation->run.run, creation->run.digest,
                           json_array_size(run_creation_webhooks(creation->exchange)));
    run_creation_answer(creation, creation->run_code, &error);
}

/* Whether the run's webhooks must go: it is refused, or nobody knows its id. A run with an
 * Idempotency-Key whose outcome is unknown may exist, and is asked for again. */
static bool must_remove_webhooks(const struct creation *creation, enum bw_code code)
{
    return creation->has_webhooks && code != BW_OK &&
           (code != BW_UNAVAILABLE || creation->run.digest[0] == '\0');
}

static void run_creation_complete(struct creation *creation, enum bw_code code,
                                  const struct bw_error *error)
{
    if (!must_remove_webhooks(creation, code)) {
        run_creation_answer(creation, code, error);
        return;
    }
    creation->run_code = code;
    creation->run_error = *error;
    if (!thread_pool_submit(creation->api->thread_pool, true, remove_webhooks, creation))
        run_creation_answer(creation, code, error);
}

/* The error of an insert that failed and found no duplicate. */
static enum bw_code classify_failure(enum commit_outcome outcome, struct bw_error *error)
{
    if (outcome == COMMIT_REFUSED)
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading run can't be stored: it does not fit one document of the "
                       "database");
    return bw_fail(error, BW_UNAVAILABLE,
                   "the grading run could not be stored in time: the database can't be reached");
}

/* Whether `first` is the digest of this run. Older versions stored none, or the digest of the text
 * as it was sent. */
static bool is_same_run(const struct creation *creation, const char *first)
{
    return first[0] == '\0' || strcmp(first, creation->run.digest) == 0 ||
           strcmp(first, creation->text_digest) == 0;
}

/* Classifies a document that was stored before under this id; `first` is its digest. BW_OK: it came
 * from the same request. */
static enum bw_code classify_duplicate(const struct creation *creation, const char *first,
                                       struct bw_error *error)
{
    const char *digest = creation->run.digest;
    if (first == NULL || digest[0] == '\0') /* the client's next try gets another id */
        return bw_fail(error, BW_UNAVAILABLE, "the grading run could not be stored: send it again");
    if (!is_same_run(creation, first))
        return bw_fail(error, BW_BAD_REQUEST,
                       "Idempotency-Key: it was used before, with another grading run");
    return BW_OK;
}

static enum bw_code run_creation_classify(struct creation *creation, enum commit_outcome outcome,
                                          const char *first, struct bw_error *error)
{
    creation->is_repeated = creation->is_repeated || outcome == COMMIT_DUPLICATE;
    if (outcome == COMMIT_DONE)
        return BW_OK;
    return outcome == COMMIT_DUPLICATE ? classify_duplicate(creation, first, error)
                                       : classify_failure(outcome, error);
}

static void insert_definition(struct creation *creation,
                              void (*completed)(struct definition_commit *, enum commit_outcome,
                                                const char *))
{
    struct definition_commit *commit = &creation->stored;
    memcpy(commit->run_id, creation->run.run.id, sizeof commit->run_id);
    memcpy(commit->digest, creation->run.digest, sizeof commit->digest);
    commit->text = creation->text;
    commit->length = strlen(creation->text);
    commit->completed = completed;
    definition_store_insert(creation->api->definition_store, commit);
}

static struct creation *creation_of(struct definition_commit *commit)
{
    return (struct creation *)((char *)commit - offsetof(struct creation, stored));
}

static void definition_restored(struct definition_commit *commit, enum commit_outcome outcome,
                                const char *first)
{
    struct creation *creation = creation_of(commit);
    struct bw_error error;
    run_creation_complete(creation, run_creation_classify(creation, outcome, first, &error),
                          &error);
}

/* ---- The run, and its entry in the audit ---- */

/* Both are written. The run whose entry is missing is refused: nobody knows its id. */
static void run_creation_finish(struct creation *creation)
{
    enum bw_code code = creation->run_code;
    struct bw_error error = creation->run_error;
    if (code == BW_OK && !creation->is_recorded)
        code = bw_fail(&error, BW_UNAVAILABLE,
                       "the grading run could not be recorded in the audit: send it again");
    if (code == BW_OK && creation->was_there)
        insert_definition(creation, definition_restored); /* in case it was removed just now */
    else
        run_creation_complete(creation, code, &error);
}

/* One of the two is written, or could not be. */
static void run_creation_join(struct creation *creation)
{
    if (atomic_fetch_sub(&creation->unfinished, 1) == 1)
        run_creation_finish(creation);
}

static void run_recorded(struct audit_commit *commit, bool is_stored)
{
    struct creation *creation = (struct creation *)((char *)commit -
                                                    offsetof(struct creation, recorded));
    audit_count(creation->api, is_stored);
    creation->is_recorded = is_stored;
    run_creation_join(creation);
}

static void record_run(struct creation *creation)
{
    creation->recorded.completed = run_recorded;
    audit_fill_run(creation->api, creation->exchange, &creation->run.run,
                   &creation->recorded.entry);
    audit_insert(creation->api, &creation->recorded);
}

static void run_completed(struct run_commit *commit, enum commit_outcome outcome, const char *first)
{
    struct creation *creation = (struct creation *)((char *)commit -
                                                    offsetof(struct creation, run));
    creation->run_code = run_creation_classify(creation, outcome, first, &creation->run_error);
    if (creation->run.digest[0] == '\0')
        run_creation_join(creation);
    else if (creation->run_code == BW_OK)
        record_run(creation);
    else
        run_creation_finish(creation);
}

/* The entry is written beside the run, so that it costs no time. With an Idempotency-Key the run
 * may turn out to be another one, so its entry is written afterwards. */
static void insert_run(struct creation *creation)
{
    bool is_beside = creation->run.digest[0] == '\0';
    atomic_store(&creation->unfinished, is_beside ? 2 : 1);
    creation->run.completed = run_completed;
    run_store_insert(creation->api->run_store, &creation->run);
    if (is_beside)
        record_run(creation);
}

/* The definition is stored, now or before. If an earlier try of the same request has stored it, and
 * its outcome is unknown, only the same run may follow. */
static void definition_completed(struct definition_commit *commit, enum commit_outcome outcome,
                                 const char *first)
{
    struct creation *creation = creation_of(commit);
    struct bw_error error;
    enum bw_code code = run_creation_classify(creation, outcome, first, &error);
    creation->was_there = outcome == COMMIT_DUPLICATE;
    if (code == BW_OK && clock_boot_ms() - creation->begun_ms > GIVE_UP_MS)
        code = bw_fail(&error, BW_UNAVAILABLE,
                       "the grading run could not be stored in time: send it again");
    if (code == BW_OK)
        insert_run(creation);
    else
        run_creation_complete(creation, code, &error);
}

static void run_creation_store(struct creation *creation)
{
    size_t length = strlen(creation->text);
    creation->begun_ms = clock_boot_ms();
    if (length > RUN_DEFINITION_MAX_BYTES) {
        insert_definition(creation, definition_completed);
        return;
    }
    creation->run.definition = creation->text;
    creation->run.definition_length = length;
    insert_run(creation);
}

/* ---- The run's webhooks ---- */

void run_creation_move_webhooks(struct exchange *exchange, json_t *document)
{
    json_t *webhooks = json_object_get(document, WEBHOOKS_KEY);
    if (webhooks == NULL)
        return;
    json_object_set(exchange_request(exchange)->arguments, WEBHOOKS_KEY, webhooks);
    json_object_del(document, WEBHOOKS_KEY);
}

json_t *run_creation_webhooks(const struct exchange *exchange)
{
    return json_object_get(exchange_request(exchange)->arguments, WEBHOOKS_KEY);
}

/* Another run that has the same key gets no webhooks of this one. */
static enum bw_code check_key(const struct creation *creation, struct bw_error *error)
{
    char first[SHA256_TEXT_SIZE];
    if (creation->run.digest[0] == '\0')
        return BW_OK;
    enum bw_code code = run_store_read_digest(creation->api->run_store, creation->run.run.id, first,
                                              error);
    if (code == BW_OK)
        return classify_duplicate(creation, first, error);
    return code == BW_NOT_FOUND ? BW_OK : code;
}

/* Stores the webhooks of the run just before the run itself, so that none of its events is missed.
 * On the thread pool. */
static void store_webhooks(void *context)
{
    struct creation *creation = context;
    struct bw_error error;
    json_t *shown = NULL;
    enum bw_code code = check_key(creation, &error);
    if (code == BW_OK) {
        creation->has_webhooks = true;
        code = webhooks_store_of_run(creation->api, &creation->run.run, creation->run.digest,
                                     run_creation_webhooks(creation->exchange), &shown, &error);
    }
    if (code != BW_OK) {
        run_creation_complete(creation, code, &error);
        return;
    }
    json_object_set_new(exchange_request(creation->exchange)->arguments, WEBHOOKS_KEY, shown);
    run_creation_store(creation);
}

/* The run's id and its text are final. On the thread pool. */
static void run_creation_go_on(struct creation *creation)
{
    if (run_creation_webhooks(creation->exchange) != NULL)
        store_webhooks(creation);
    else
        run_creation_store(creation);
}

/* ---- Preparing the run ---- */

static enum bw_code make_text(struct creation *creation, struct bw_error *error)
{
    free(creation->text);
    creation->text = definition_text(creation->definition);
    if (creation->text == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    size_t length = strlen(creation->text);
    if (length > DEFINITION_MAX_BYTES)
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading run is too large: %zu bytes, and %d can be stored", length,
                       (int)DEFINITION_MAX_BYTES);
    return BW_OK;
}

/* Claims the files of the run, whose sizes become a part of the stored text. On the thread pool. */
static void claim_files(void *context)
{
    struct creation *creation = context;
    struct bw_error error;
    const struct run_file_claim claim = {.run = creation->run.run.id,
                                         .course = creation->run.run.course,
                                         .definition = creation->definition};
    enum bw_code code = run_file_claim_take(creation->api, &claim, &error);
    if (code == BW_OK)
        code = make_text(creation, &error);
    FAILPOINT("after_file_claim");
    if (code == BW_OK)
        run_creation_go_on(creation);
    else
        run_creation_complete(creation, code, &error);
}

/* Looks for a run that an earlier version has stored under the plain id; if there is one, it is the
 * run of this key. On the thread pool. */
static void find_plain(void *context)
{
    struct creation *creation = context;
    struct bw_error error;
    struct run run;
    enum bw_code code = run_store_read(creation->api->run_store, creation->plain_id, &run, &error);
    if (code == BW_OK) {
        run_clear(&run);
        memcpy(creation->run.run.id, creation->plain_id, sizeof creation->plain_id);
    }
    if (code == BW_OK || code == BW_NOT_FOUND)
        run_creation_go_on(creation);
    else
        run_creation_complete(creation, code, &error);
}

static void digest_text(const char *text, char digest[SHA256_TEXT_SIZE])
{
    secret_digest(&(struct digest_part){text, strlen(text)}, 1, digest);
}

/* Makes the digests by which another try with the same key is recognised. */
static enum bw_code make_digests(struct creation *creation, struct bw_error *error)
{
    char *canonical = definition_canonical_text(creation->definition);
    if (canonical == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    digest_text(canonical, creation->run.digest);
    digest_text(creation->text, creation->text_digest);
    free(canonical);
    return BW_OK;
}

/* Chooses a new id, or the one of the caller's key. */
static enum bw_code choose_id(struct creation *creation, const char *caller, struct bw_error *error)
{
    const char *key = exchange_header(creation->exchange, "Idempotency-Key");
    struct run *run = &creation->run.run;
    const struct run_key *run_key = auth_run_key(creation->api->auth);
    run_id_new(run->id);
    if (key == NULL)
        return BW_OK;
    size_t length = strlen(key);
    if (length == 0 || length > KEY_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "Idempotency-Key: must have 1 to %d characters",
                       (int)KEY_MAX);
    if (run_key == NULL)
        return bw_fail(error, BW_UNAVAILABLE,
                       "this server is starting: it has not read its tokens from the database yet");
    run_key_id(run_key, run->course, key, run->id);
    if (run_key->has_plain)
        run_key_plain_id(caller, key, creation->plain_id);
    return make_digests(creation, error);
}

/* What must be done first, on the thread pool; NULL: nothing. Earlier versions that stored runs
 * under plain ids knew no files. */
static void (*run_creation_first_step(const struct creation *creation))(void *)
{
    const struct run_files files = definition_files(creation->definition);
    if (run_files_count(&files) > 0)
        return claim_files;
    if (creation->plain_id[0] != '\0')
        return find_plain;
    return run_creation_webhooks(creation->exchange) != NULL ? store_webhooks : NULL;
}

/* The digests of the students' keys, for the run's document. */
static void creation_take_keys(struct creation *creation)
{
    struct run *run = &creation->run.run;
    run->keys = definition_supersede_digests(creation->definition, run->course, run->assignment);
    run->has_keys = run->keys != NULL;
    run->supersede_share = definition_supersede_share(creation->definition);
}

enum bw_code run_create(struct api *api, struct exchange *exchange, const char *caller,
                        struct definition *definition, const struct run *run, run_created *created,
                        struct bw_error *error)
{
    struct creation *creation = bw_alloc(sizeof *creation);
    creation->api = api;
    creation->exchange = exchange;
    creation->created = created;
    creation->definition = definition;
    creation->run.run = *run;
    run_spans_take(exchange, &creation->run.run);
    creation_take_keys(creation);
    creation->run.run.labels = definition_labels(definition);
    creation->run.run.requires = definition_requires(definition);
    enum bw_code code = make_text(creation, error);
    if (code == BW_OK)
        code = choose_id(creation, caller, error);
    void (*first)(void *) = code == BW_OK ? run_creation_first_step(creation) : NULL;
    if (first != NULL && !thread_pool_submit(api->thread_pool, false, first, creation))
        code = bw_fail(error, BW_UNAVAILABLE, "too many requests are waiting here: try again");
    if (code != BW_OK) {
        creation_free(creation);
        return code;
    }
    if (first == NULL)
        run_creation_store(creation);
    return BW_PENDING;
}

enum run_phase run_first_phase(const struct run *run)
{
    return run_phase(&(struct run_facts){.has_pre = run->has_pre,
                                         .has_post = run->has_post,
                                         .students = run->students,
                                         .is_started = true});
}
