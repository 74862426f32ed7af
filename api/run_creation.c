#include "api/run_creation.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/definition_cache.h"
#include "api/exchange.h"
#include "api/executor.h"
#include "common/clock.h"
#include "common/secret.h"
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
    memcpy(run->all_timeouts, summary.all_timeouts, sizeof run->all_timeouts);
    if (summary.name != NULL)
        snprintf(run->name, sizeof run->name, "%s", summary.name);
}

/* A run on its way into the database. */
struct creation {
    struct definition_commit definition_commit; /* first: its settled() is given this */
    struct run_commit run_commit;
    struct api *api;
    struct definition *definition;
    char *text; /* of it, as it is stored */
    size_t length;
    char digest[SHA256_TEXT_SIZE]; /* of the text; "" without an Idempotency-Key */
    int64_t begun_ms;
    bool is_again; /* the definition was there already */
    void (*settled)(enum bw_code code, const char *id, const struct bw_error *error, void *context);
    void *context;
};

static void creation_free(struct creation *creation)
{
    definition_release(creation->definition);
    free(creation->text);
    free(creation);
}

static struct creation *creation_of_run(struct run_commit *commit)
{
    return (struct creation *)((char *)commit - offsetof(struct creation, run_commit));
}

static bool has_key(const struct creation *creation)
{
    return creation->digest[0] != '\0';
}

/* Frees before it tells: what is left of the request may be gone at once. */
static void succeed(struct creation *creation)
{
    struct creation kept = *creation;
    definition_cache_put(creation->api->definitions, kept.run_commit.run.id, creation->definition);
    creation_free(creation);
    kept.settled(BW_OK, kept.run_commit.run.id, NULL, kept.context);
}

static void fail(struct creation *creation, enum bw_code code, const struct bw_error *error)
{
    void (*settled)(enum bw_code, const char *, const struct bw_error *,
                    void *) = creation->settled;
    void *context = creation->context;
    creation_free(creation);
    settled(code, NULL, error, context);
}

static void fail_unstored(struct creation *creation)
{
    struct bw_error error;
    fail(creation,
         bw_fail(&error, BW_UNAVAILABLE, "the grading run could not be stored: send it again"),
         &error);
}

static void fail_outcome(struct creation *creation, enum commit_outcome outcome)
{
    struct bw_error error;
    fail(creation, commit_outcome_code(outcome, "the grading run", &error), &error);
}

/* ---- The last step: the run ---- */

static void insert_definition(struct creation *creation);

/* With a key, a run that is there is that of another try of this request: the definition under it
 * is ours, or the same. Without one, another try gets another id. */
static void run_settled(struct run_commit *commit, enum commit_outcome outcome)
{
    struct creation *creation = creation_of_run(commit);
    bool is_there = outcome == COMMIT_DONE || (outcome == COMMIT_DUPLICATE && has_key(creation));
    if (is_there && creation->is_again)
        insert_definition(creation); /* if it was swept just now, as left alone */
    else if (is_there)
        succeed(creation);
    else if (outcome == COMMIT_DUPLICATE)
        fail_unstored(creation);
    else
        fail_outcome(creation, outcome);
}

static void insert_run(struct creation *creation)
{
    creation->run_commit.settled = run_settled;
    run_store_insert(creation->api->run_store, &creation->run_commit);
}

/* ---- Before it: the definition ---- */

/* On the executor. The key was used before, perhaps by an earlier try of this very request that
 * nobody knows the end of. The first definition under a key stays: only its own run can follow. */
static void judge_key(void *context)
{
    struct creation *creation = context;
    char first[SHA256_TEXT_SIZE];
    struct bw_error error;
    enum bw_code code = definition_store_read_digest(creation->api->definition_store,
                                                     creation->run_commit.run.id, first, &error);
    if (code == BW_OK && strcmp(first, creation->digest) != 0)
        code = bw_fail(&error, BW_BAD_REQUEST,
                       "Idempotency-Key: it was used before, with another grading run");
    creation->is_again = true;
    if (code == BW_OK)
        insert_run(creation);
    else if (code == BW_NOT_FOUND) /* it was swept just now */
        fail_unstored(creation);
    else
        fail(creation, code, &error);
}

static void definition_settled(struct definition_commit *commit, enum commit_outcome outcome)
{
    struct creation *creation = (struct creation *)commit;
    bool is_late = clock_boot_ms() - creation->begun_ms > GIVE_UP_MS;
    if (creation->is_again && (outcome == COMMIT_DONE || outcome == COMMIT_DUPLICATE))
        succeed(creation);
    else if (outcome == COMMIT_DONE && is_late)
        fail_unstored(creation);
    else if (outcome == COMMIT_DONE)
        insert_run(creation);
    else if (outcome != COMMIT_DUPLICATE)
        fail_outcome(creation, outcome);
    else if (!has_key(creation) ||
             !executor_submit(creation->api->executor, false, judge_key, creation))
        fail_unstored(creation);
}

static void insert_definition(struct creation *creation)
{
    struct definition_commit *commit = &creation->definition_commit;
    commit->run_id = creation->run_commit.run.id;
    commit->text = creation->text;
    commit->length = creation->length;
    commit->digest = creation->digest;
    commit->settled = definition_settled;
    definition_store_insert(creation->api->definition_store, commit);
}

/* ---- First: its text and its id ---- */

static enum bw_code make_text(struct creation *creation, struct bw_error *error)
{
    creation->text = definition_text(creation->definition);
    if (creation->text == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    creation->length = strlen(creation->text);
    if (creation->length > DEFINITION_MAX_BYTES)
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading run is too large: %zu bytes, and %d can be stored",
                       creation->length, (int)DEFINITION_MAX_BYTES);
    return BW_OK;
}

/* A fresh id, or the one that belongs to the caller's key. */
static enum bw_code choose_id(const struct run_creation *request, struct creation *creation,
                              struct bw_error *error)
{
    const char *key = exchange_header(request->exchange, "Idempotency-Key");
    struct run *run = &creation->run_commit.run;
    char id[SHA256_TEXT_SIZE];
    run_id_new(run->id);
    if (key == NULL)
        return BW_OK;
    size_t length = strlen(key);
    if (length == 0 || length > KEY_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "Idempotency-Key: must have 1 to %d characters",
                       (int)KEY_MAX);
    secret_digest((struct digest_part[]){{request->caller, strlen(request->caller)}, {key, length}},
                  2, id);
    snprintf(run->id, sizeof run->id, "%.24s", id);
    secret_digest(&(struct digest_part){creation->text, creation->length}, 1, creation->digest);
    return BW_OK;
}

/* A small definition goes with its run. Not with a key: under that the definition is the first to
 * be stored, so that it can be told whose run may follow. */
static void store(struct creation *creation)
{
    if (has_key(creation) || creation->length > RUN_DEFINITION_MAX) {
        insert_definition(creation);
        return;
    }
    creation->run_commit.definition = creation->text;
    creation->run_commit.definition_length = creation->length;
    insert_run(creation);
}

enum bw_code run_creation_begin(struct api *api, const struct run_creation *request,
                                struct bw_error *error)
{
    struct creation *creation = calloc(1, sizeof *creation);
    if (creation == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    creation->api = api;
    creation->definition = definition_hold(request->definition);
    creation->run_commit.run = request->run;
    creation->begun_ms = clock_boot_ms();
    creation->settled = request->settled;
    creation->context = request->context;
    enum bw_code code = make_text(creation, error);
    if (code == BW_OK)
        code = choose_id(request, creation, error);
    if (code == BW_OK)
        store(creation);
    else
        creation_free(creation);
    return code;
}

enum run_phase run_first_phase(const struct run *run)
{
    return run_phase(&(struct run_facts){.has_pre = run->has_pre,
                                         .has_post = run->has_post,
                                         .students = run->students,
                                         .is_started = true});
}
