#include "api/run_creation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/definition_cache.h"
#include "api/exchange.h"
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
    struct definition *definition;
    char *text; /* of it, as it is stored */
    size_t length;
    struct run run;
    char digest[SHA256_TEXT_SIZE]; /* of the text; "" without an Idempotency-Key */
};

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
static enum bw_code choose_id(const struct exchange *exchange, const char *caller,
                              struct creation *creation, struct bw_error *error)
{
    const char *key = exchange_header(exchange, "Idempotency-Key");
    struct run *run = &creation->run;
    char id[SHA256_TEXT_SIZE];
    run_id_new(run->id);
    if (key == NULL)
        return BW_OK;
    size_t length = strlen(key);
    if (length == 0 || length > KEY_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "Idempotency-Key: must have 1 to %d characters",
                       (int)KEY_MAX);
    secret_digest((struct digest_part[]){{caller, strlen(caller)}, {key, length}}, 2, id);
    snprintf(run->id, sizeof run->id, "%.24s", id);
    secret_digest(&(struct digest_part){creation->text, creation->length}, 1, creation->digest);
    return BW_OK;
}

static enum bw_code insert_definition(struct api *api, const struct creation *creation,
                                      struct bw_error *error)
{
    return definition_store_insert(api->definition_store, creation->run.id, creation->text,
                                   creation->length, creation->digest, error);
}

/* The key was used before, perhaps by an earlier try of this very request that nobody knows the end
 * of. The first definition under a key stays: only its own run can follow. */
static enum bw_code store_again(struct api *api, struct creation *creation, struct bw_error *error)
{
    char first[SHA256_TEXT_SIZE];
    enum bw_code code = definition_store_read_digest(api->definition_store, creation->run.id, first,
                                                     error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_UNAVAILABLE, "the grading run could not be stored: send it again");
    if (code == BW_OK && strcmp(first, creation->digest) != 0)
        return bw_fail(error, BW_BAD_REQUEST,
                       "Idempotency-Key: it was used before, with another grading run");
    if (code == BW_OK)
        code = run_store_insert(api->run_store, &creation->run, error);
    if (code != BW_OK && code != BW_CONFLICT)
        return code;
    code = insert_definition(api, creation, error); /* if it was swept just now, as left alone */
    return code == BW_CONFLICT ? BW_OK : code;
}

/* First the definition, then the run, whose insert is what makes it exist. */
static enum bw_code store(struct api *api, struct creation *creation, struct bw_error *error)
{
    int64_t begun_ms = clock_boot_ms();
    bool has_key = creation->digest[0] != '\0';
    enum bw_code code = insert_definition(api, creation, error);
    if (code == BW_CONFLICT && has_key)
        return store_again(api, creation, error);
    if (code == BW_OK && clock_boot_ms() - begun_ms > GIVE_UP_MS)
        return bw_fail(error, BW_UNAVAILABLE,
                       "the grading run could not be stored in time: send it again");
    if (code == BW_OK)
        code = run_store_insert(api->run_store, &creation->run, error);
    if (code == BW_CONFLICT && has_key)
        return BW_OK; /* the definition is ours: another try of the same request was faster */
    if (code == BW_CONFLICT) /* another try gets another id */
        return bw_fail(error, BW_UNAVAILABLE, "the grading run could not be stored: send it again");
    return code;
}

enum bw_code run_create(struct api *api, const struct exchange *exchange, const char *caller,
                        struct definition *definition, struct run *run, struct bw_error *error)
{
    struct creation creation = {.definition = definition, .run = *run};
    enum bw_code code = make_text(&creation, error);
    if (code == BW_OK)
        code = choose_id(exchange, caller, &creation, error);
    if (code == BW_OK)
        code = store(api, &creation, error);
    if (code == BW_OK)
        definition_cache_put(api->definitions, creation.run.id, definition);
    free(creation.text);
    *run = creation.run;
    return code;
}

enum run_phase run_first_phase(const struct run *run)
{
    return run_phase(&(struct run_facts){.has_pre = run->has_pre,
                                         .has_post = run->has_post,
                                         .students = run->students,
                                         .is_started = true});
}
