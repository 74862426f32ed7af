#include "api/grading/run_creation.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/grading/definition_cache.h"
#include "api/http/exchange.h"
#include "api/http/thread_pool.h"
#include "api/auth/run_key.h"
#include "common/base/clock.h"
#include "common/base/secret.h"
#include "common/store/definition_store.h"

/* A definition without a run is swept after a day; a run inserted later than this after its
 * definition might lose it. */
enum { GIVE_UP_MS = 45000, KEY_MAX = 255 };

void run_describe(const struct definition *definition, struct run *run)
{
    struct definition_summary summary = definition_summary(definition);
    *run = (struct run){
        .has_pre = summary.has_pre,
        .has_post = summary.has_post,
        .has_stages = {summary.has_pre, summary.student_has_stages, summary.has_post},
        .students = summary.students,
        .priority = summary.priority,
        .max_attempts = summary.max_attempts,
    };
    memcpy(run->timeout_ms, summary.timeout_ms, sizeof run->timeout_ms);
    memcpy(run->untimed_stages, summary.untimed_stages, sizeof run->untimed_stages);
    if (summary.name != NULL)
        snprintf(run->name, sizeof run->name, "%s", summary.name);
}

/* A run on its way into the database. */
struct creation {
    struct api *api;
    struct exchange *exchange;
    run_created *created;
    struct definition *definition;
    char *text; /* of it, as it is stored */
    int64_t begun_ms;
    bool was_there; /* the definition: it may be swept as one that was left alone, until the run is
                     */
    bool is_repeated; /* something stood there before: its text counts, whose keys may have another
                         order */
    char plain_id[RUN_ID_SIZE]; /* under which the run may be from before; "": it can't */
    struct definition_commit stored;
    struct run_commit run;              /* its digest is that of the canonical text; "" without an
                                           Idempotency-Key */
    char text_digest[SHA256_TEXT_SIZE]; /* what an older version kept in its place */
};

static void creation_free(struct creation *creation)
{
    definition_release(creation->definition);
    free(creation->text);
    free(creation);
}

/* Frees before it tells: the HTTP server may then free what is left of the request, in another
 * thread, and the definition is a part of that. */
static void run_creation_settle(struct creation *creation, enum bw_code code,
                                const struct bw_error *error)
{
    struct api *api = creation->api;
    struct exchange *exchange = creation->exchange;
    run_created *created = creation->created;
    const struct run run = creation->run.run;
    if (code == BW_OK && !creation->is_repeated)
        definition_cache_put(api->definitions, run.id, creation->definition);
    creation_free(creation);
    created(api, exchange, code, &run, code == BW_OK ? NULL : error);
}

/* What is to be told of an insert that was not done, and was no duplicate either. */
static enum bw_code judge_failure(enum commit_outcome outcome, struct bw_error *error)
{
    if (outcome == COMMIT_REFUSED)
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading run can't be stored: it does not fit one document of the "
                       "database");
    return bw_fail(error, BW_UNAVAILABLE,
                   "the grading run could not be stored in time: the database can't be reached");
}

/* Is `first` the digest of this run? Older versions kept none, or that of the text as it came. */
static bool is_same_run(const struct creation *creation, const char *first)
{
    return first[0] == '\0' || strcmp(first, creation->run.digest) == 0 ||
           strcmp(first, creation->text_digest) == 0;
}

/* Something stands under this id. BW_OK: it came from the same request. `first` is its digest. */
static enum bw_code judge_duplicate(const struct creation *creation, const char *first,
                                    struct bw_error *error)
{
    const char *digest = creation->run.digest;
    if (first == NULL || digest[0] == '\0') /* another try gets another id */
        return bw_fail(error, BW_UNAVAILABLE, "the grading run could not be stored: send it again");
    if (!is_same_run(creation, first))
        return bw_fail(error, BW_BAD_REQUEST,
                       "Idempotency-Key: it was used before, with another grading run");
    return BW_OK;
}

static enum bw_code run_creation_judge(struct creation *creation, enum commit_outcome outcome,
                                       const char *first, struct bw_error *error)
{
    creation->is_repeated = creation->is_repeated || outcome == COMMIT_DUPLICATE;
    if (outcome == COMMIT_DONE)
        return BW_OK;
    return outcome == COMMIT_DUPLICATE ? judge_duplicate(creation, first, error)
                                       : judge_failure(outcome, error);
}

static void insert_definition(struct creation *creation,
                              void (*settled)(struct definition_commit *, enum commit_outcome,
                                              const char *))
{
    struct definition_commit *commit = &creation->stored;
    memcpy(commit->run_id, creation->run.run.id, sizeof commit->run_id);
    memcpy(commit->digest, creation->run.digest, sizeof commit->digest);
    commit->text = creation->text;
    commit->length = strlen(creation->text);
    commit->settled = settled;
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
    run_creation_settle(creation, run_creation_judge(creation, outcome, first, &error), &error);
}

static void run_settled(struct run_commit *commit, enum commit_outcome outcome, const char *first)
{
    struct creation *creation = (struct creation *)((char *)commit -
                                                    offsetof(struct creation, run));
    struct bw_error error;
    enum bw_code code = run_creation_judge(creation, outcome, first, &error);
    if (code == BW_OK && creation->was_there)
        insert_definition(creation, definition_restored); /* if it was swept just now */
    else
        run_creation_settle(creation, code, &error);
}

static void insert_run(struct creation *creation)
{
    creation->run.settled = run_settled;
    run_store_insert(creation->api->run_store, &creation->run);
}

/* The key was used before, perhaps by an earlier try of this very request that nobody knows the end
 * of: then only this run can follow. */
static void definition_settled(struct definition_commit *commit, enum commit_outcome outcome,
                               const char *first)
{
    struct creation *creation = creation_of(commit);
    struct bw_error error;
    enum bw_code code = run_creation_judge(creation, outcome, first, &error);
    creation->was_there = outcome == COMMIT_DUPLICATE;
    if (code == BW_OK && clock_boot_ms() - creation->begun_ms > GIVE_UP_MS)
        code = bw_fail(&error, BW_UNAVAILABLE,
                       "the grading run could not be stored in time: send it again");
    if (code == BW_OK)
        insert_run(creation);
    else
        run_creation_settle(creation, code, &error);
}

static void run_creation_store(struct creation *creation)
{
    size_t length = strlen(creation->text);
    creation->begun_ms = clock_boot_ms();
    if (length > RUN_DEFINITION_MAX_BYTES) {
        insert_definition(creation, definition_settled);
        return;
    }
    creation->run.definition = creation->text;
    creation->run.definition_length = length;
    insert_run(creation);
}

/* On the thread pool. A run that is there under the plain id is the one that the key stands for. */
static void look_for_plain(void *context)
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
        run_creation_store(creation);
    else
        run_creation_settle(creation, code, &error);
}

static enum bw_code make_text(struct creation *creation, struct bw_error *error)
{
    creation->text = definition_text(creation->definition);
    if (creation->text == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    size_t length = strlen(creation->text);
    if (length > DEFINITION_MAX_BYTES)
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading run is too large: %zu bytes, and %d can be stored", length,
                       (int)DEFINITION_MAX_BYTES);
    return BW_OK;
}

static void digest_text(const char *text, char digest[SHA256_TEXT_SIZE])
{
    secret_digest(&(struct digest_part){text, strlen(text)}, 1, digest);
}

/* By what another try under the same key is recognised. */
static enum bw_code make_digests(struct creation *creation, struct bw_error *error)
{
    char *canonical = definition_canonical_text(creation->definition);
    if (canonical == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    digest_text(canonical, creation->run.digest);
    digest_text(creation->text, creation->text_digest);
    free(canonical);
    return BW_OK;
}

/* A fresh id, or the one that belongs to the caller's key. */
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
                       "this server is starting: it has yet to learn its tokens from the database");
    run_key_id(run_key, run->course, key, run->id);
    if (run_key->has_plain)
        run_key_plain_id(caller, key, creation->plain_id);
    return make_digests(creation, error);
}

enum bw_code run_create(struct api *api, struct exchange *exchange, const char *caller,
                        struct definition *definition, const struct run *run, run_created *created,
                        struct bw_error *error)
{
    struct creation *creation = calloc(1, sizeof *creation);
    if (creation == NULL) {
        definition_release(definition);
        return bw_fail(error, BW_INTERNAL, "memory is short");
    }
    creation->api = api;
    creation->exchange = exchange;
    creation->created = created;
    creation->definition = definition;
    creation->run.run = *run;
    enum bw_code code = make_text(creation, error);
    if (code == BW_OK)
        code = choose_id(creation, caller, error);
    bool has_plain = code == BW_OK && creation->plain_id[0] != '\0';
    if (has_plain && !thread_pool_submit(api->thread_pool, false, look_for_plain, creation))
        code = bw_fail(error, BW_UNAVAILABLE, "too many requests are waiting here: try again");
    if (code != BW_OK) {
        creation_free(creation);
        return code;
    }
    if (!has_plain)
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
