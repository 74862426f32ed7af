#include "api/classic/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/grader_presence.h"
#include "api/options.h"
#include "api/grading/run_creation.h"
#include "api/grading/run_facts.h"
#include "api/grading/run_status.h"
#include "api/grading/status_answer.h"
#include "common/base/clock.h"
#include "common/domain/run_definition.h"
#include "common/base/json_write.h"
#include "common/base/secret.h"
#include "common/store/definition_store.h"
#include "common/store/run_store.h"

const struct json_field classic_create_fields[] = {
    {.name = "document", .kind = FIELD_ANY, .is_required = true}, /* definition_new checks it */
    {.name = NULL},
};

const struct json_field classic_show_fields[] = {
    {.name = "results", .kind = FIELD_BOOLEAN},
    {.name = "students", .kind = FIELD_BOOLEAN},
    {.name = "offset", .kind = FIELD_INTEGER, .minimum = 0, .maximum = JOB_MAX_INDEX},
    {.name = "limit", .kind = FIELD_INTEGER, .minimum = 0, .maximum = JOB_MAX_INDEX},
    {.name = NULL},
};

/* ---- Create ---- */

static void classic_client_created(struct api *api, struct exchange *exchange, enum bw_code code,
                                   const struct run *run, const struct bw_error *error)
{
    (void)api;
    if (code == BW_OK)
        exchange_answer_json(exchange, json_pack("{s:s}", "id", run->id));
    else
        exchange_refuse(exchange, code, error);
}

enum bw_code classic_client_create(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct definition_limits limits = api_options_limits(api->options);
    json_t *document = json_object_get(exchange_request(exchange)->arguments, "document");
    struct definition *definition;
    struct run run;
    enum bw_code code = definition_new(document, &limits, &definition, error);
    if (code != BW_OK)
        return code;
    run_describe(definition, &run);
    return run_create(api, exchange, "seed", definition, &run, classic_client_created, error);
}

/* ---- A run by its id ---- */

/* Runs of courses are not seen here. */
static enum bw_code refuse_run(const char *id, struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "there is no grading run '%s'", id);
}

/* On BW_OK run_clear is owed. `id`: at least as long as an id. */
static enum bw_code classic_client_read_run(struct api *api, const char *id, struct run *run,
                                            struct bw_error *error)
{
    if (!is_hex_id(id, RUN_ID_LENGTH)) {
        char shown[80];
        return bw_fail(error, BW_BAD_REQUEST,
                       "'%s' is not the id of a grading run: 24 lower-case hex digits",
                       text_show(id, shown, sizeof shown));
    }
    enum bw_code code = run_store_read(api->run_store, id, run, error);
    if (code == BW_NOT_FOUND)
        return refuse_run(id, error);
    if (code != BW_OK || run->course[0] == '\0')
        return code;
    run_clear(run);
    return refuse_run(id, error);
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

/* The definition is needed for what students show. NULL otherwise. */
static enum bw_code classic_client_read_definition(struct api *api, const struct run *run,
                                                   const struct run_view *view,
                                                   struct definition **definition,
                                                   struct bw_error *error)
{
    *definition = NULL;
    if (!view->with_students)
        return BW_OK;
    enum bw_code code = definition_cache_get(api->definitions, run->id, definition, error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", run->id);
    return code;
}

enum bw_code classic_client_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    struct run run;
    struct definition *definition = NULL;
    struct run_facts_found found;
    struct run_view view = read_view(exchange_request(exchange)->arguments);
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    if (code != BW_OK)
        return code;
    code = classic_client_read_definition(api, &run, &view, &definition, error);
    if (code == BW_OK)
        code = run_facts_read(&sources, &run, &found, error);
    if (code == BW_OK) {
        status_answer_send(api, exchange, &run, definition, &found, &view);
        return BW_OK;
    }
    definition_release(definition);
    run_clear(&run);
    return code;
}

/* The phase that the run begins with follows from its definition. If that is at hand nothing is
 * read: whether the run may be started, and exists, the start itself finds out. That would wait for
 * a database that is away; a read does not. */
static enum bw_code find_first_phase(struct api *api, const struct exchange *exchange,
                                     enum run_phase *first, struct bw_error *error)
{
    struct run run;
    struct definition *definition = NULL;
    const char *id = exchange_request(exchange)->path_id;
    if (!database_is_away(api->database))
        definition = definition_cache_find(api->definitions, id);
    if (definition != NULL && definition_is_course(definition)) {
        definition_release(definition);
        return refuse_run(id, error);
    }
    if (definition != NULL) {
        run_describe(definition, &run);
        definition_release(definition);
    } else {
        enum bw_code code = classic_client_read_run(api, id, &run, error);
        if (code != BW_OK)
            return code;
        run_clear(&run);
    }
    *first = run_first_phase(&run);
    return BW_OK;
}

enum bw_code classic_client_start(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    enum run_phase first;
    enum bw_code code = find_first_phase(api, exchange, &first, error);
    if (code != BW_OK)
        return code;
    code = run_store_start(api->run_store, exchange_request(exchange)->path_id, first, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_object());
    if (code == BW_CONFLICT || code == BW_NOT_FOUND)
        return BW_BAD_REQUEST; /* the store's sentence says it: started already */
    return code;
}

/* One that is over stays as it is; asking twice is fine. */
enum bw_code classic_client_cancel(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    char id[RUN_ID_SIZE];
    struct run run;
    enum run_phase phase = RUN_CANCELLED;
    snprintf(id, sizeof id, "%.24s", exchange_request(exchange)->path_id);
    enum bw_code code = classic_client_read_run(api, id, &run, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    code = run_store_cancel(api->run_store, id, &phase, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_object());
    if (code == BW_NOT_FOUND)
        return refuse_run(id, error);
    if (code != BW_CONFLICT)
        return code;
    exchange_refuse_with(exchange, code, error, "state", run_phase_name(phase));
    return BW_OK;
}
