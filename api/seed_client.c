#include "api/seed_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/definition_cache.h"
#include "api/options.h"
#include "api/run_facts.h"
#include "api/run_status.h"
#include "common/clock.h"
#include "common/definition.h"
#include "common/secret.h"
#include "common/store/definition_store.h"
#include "common/store/run_store.h"

/* A definition without a run is swept after a day; a run inserted later than this after its
 * definition might lose it. */
enum { GIVE_UP_MS = 45000, KEY_MAX = 255 };

const struct json_field seed_create_fields[] = {
    {.name = "document", .kind = FIELD_ANY, .is_required = true}, /* definition_new checks it */
    {.name = NULL},
};

const struct json_field seed_show_fields[] = {
    {.name = "results", .kind = FIELD_BOOLEAN},
    {.name = "students", .kind = FIELD_BOOLEAN},
    {.name = "offset", .kind = FIELD_INTEGER, .minimum = 0, .maximum = JOB_MAX_INDEX},
    {.name = "limit", .kind = FIELD_INTEGER, .minimum = 0, .maximum = JOB_MAX_INDEX},
    {.name = NULL},
};

/* ---- Create ---- */

static void run_describe(const struct definition *definition, struct run *run)
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

/* A fresh id, or the one that belongs to the request's key: all clients of this protocol are one
 * caller. */
static enum bw_code choose_id(const struct exchange *exchange, struct creation *creation,
                              struct bw_error *error)
{
    static const char caller[] = "seed";
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
    secret_digest((struct digest_part[]){{caller, sizeof caller - 1}, {key, length}}, 2, id);
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

enum bw_code seed_client_create(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct definition_limits limits = {.allow_privileged = api->options->allow_privileged};
    json_t *document = json_object_get(exchange_request(exchange)->arguments, "document");
    struct creation creation = {.text = NULL};
    enum bw_code code = definition_new(document, &limits, &creation.definition, error);
    if (code != BW_OK)
        return code;
    run_describe(creation.definition, &creation.run);
    code = make_text(&creation, error);
    if (code == BW_OK)
        code = choose_id(exchange, &creation, error);
    if (code == BW_OK)
        code = store(api, &creation, error);
    if (code == BW_OK)
        definition_cache_put(api->definitions, creation.run.id, creation.definition);
    definition_release(creation.definition);
    free(creation.text);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_pack("{s:s}", "id", creation.run.id));
    return code;
}

/* ---- A run by its id ---- */

/* Whether a run exists is always read. On BW_OK run_clear is owed. */
static enum bw_code read_run(struct api *api, const struct exchange *exchange, struct run *run,
                             struct bw_error *error)
{
    const char *id = exchange_request(exchange)->path_id;
    if (!is_hex_id(id, RUN_ID_LENGTH)) {
        char shown[80];
        return bw_fail(error, BW_BAD_REQUEST,
                       "'%s' is not the id of a grading run: 24 lower-case hex digits",
                       text_show(id, shown, sizeof shown));
    }
    enum bw_code code = run_store_read(api->run_store, id, run, error);
    return code == BW_NOT_FOUND ? bw_fail(error, BW_BAD_REQUEST, "there is no grading run '%s'", id)
                                : code;
}

static uint32_t number_argument(const json_t *arguments, const char *name, uint32_t otherwise)
{
    const json_t *value = json_object_get(arguments, name);
    return value == NULL ? otherwise : (uint32_t)json_integer_value(value);
}

static struct run_view read_view(const json_t *arguments)
{
    return (struct run_view){
        .with_students = !json_is_false(json_object_get(arguments, "students")),
        .with_results = json_is_true(json_object_get(arguments, "results")),
        .offset = number_argument(arguments, "offset", 0),
        .limit = number_argument(arguments, "limit", UINT32_MAX),
    };
}

static enum bw_code show(struct api *api, const struct run *run, const struct run_view *view,
                         json_t **answer, struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    struct definition *definition = NULL;
    struct run_facts_found found;
    if (view->with_students) {
        enum bw_code code = definition_cache_get(api->definitions, run->id, &definition, error);
        if (code != BW_OK)
            return code == BW_NOT_FOUND
                       ? bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", run->id)
                       : code;
    }
    enum bw_code code = run_facts_read(&sources, run, view, &found, error);
    if (code == BW_OK) {
        *answer = run_status_answer(run, definition, found.jobs, view, found.last_result_ms);
        run_facts_clear(&found);
    }
    definition_release(definition);
    return code;
}

enum bw_code seed_client_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    struct run run;
    json_t *answer = NULL;
    struct run_view view = read_view(exchange_request(exchange)->arguments);
    enum bw_code code = read_run(api, exchange, &run, error);
    if (code != BW_OK)
        return code;
    code = show(api, &run, &view, &answer, error);
    run_clear(&run);
    if (code == BW_OK)
        exchange_answer_json(exchange, answer);
    return code;
}

static enum run_phase first_phase(const struct run *run)
{
    return run_phase(&(struct run_facts){.has_pre = run->has_pre,
                                         .has_post = run->has_post,
                                         .students = run->students,
                                         .is_started = true});
}

enum bw_code seed_client_start(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    struct run run;
    enum bw_code code = read_run(api, exchange, &run, error);
    if (code != BW_OK)
        return code;
    code = run_store_start(api->run_store, run.id, first_phase(&run), error);
    run_clear(&run);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_object());
    if (code == BW_CONFLICT || code == BW_NOT_FOUND)
        return BW_BAD_REQUEST; /* the store's sentence says it: started already */
    return code;
}

/* One that is over stays as it is; asking twice is fine. */
enum bw_code seed_client_cancel(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    char id[RUN_ID_SIZE];
    enum run_phase phase = RUN_CANCELLED;
    snprintf(id, sizeof id, "%.24s", exchange_request(exchange)->path_id);
    enum bw_code code = run_store_cancel(api->run_store, id, &phase, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_object());
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "there is no grading run '%s'", id);
    if (code != BW_CONFLICT)
        return code;
    json_t *body = json_pack("{s:s, s:s}", "error", error->message, "state", run_phase_name(phase));
    exchange_answer(exchange, 409, json_dumps(body, JSON_COMPACT), NULL);
    json_decref(body);
    return BW_OK;
}
