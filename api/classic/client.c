#include "api/classic/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/exchange.h"
#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/options.h"
#include "api/grading/run_creation.h"
#include "api/grading/run_rerun.h"
#include "api/grading/run_start.h"
#include "api/grading/status_answer.h"
#include "common/domain/run_definition.h"
#include "common/domain/webhook.h"
#include "common/base/json_write.h"
#include "common/base/secret.h"
#include "common/store/definition_store.h"
#include "common/store/pause_store.h"
#include "common/store/run_store.h"

const struct json_field classic_create_fields[] = {
    {.name = "document", .kind = FIELD_ANY, .is_required = true}, /* definition_new checks it */
    {.name = NULL},
};

/* Whose runs these are, for ids that are computed from an Idempotency-Key. */
#define CLASSIC_CALLER "seed"

/* ---- Create ---- */

static void classic_client_created(struct api *api, struct exchange *exchange, enum bw_code code,
                                   const struct run *run, const struct bw_error *error)
{
    (void)api;
    if (code == BW_OK)
        exchange_answer_json(exchange, json_pack("{s:s,s:O*}", "id", run->id, WEBHOOKS_KEY,
                                                 run_creation_webhooks(exchange)));
    else
        exchange_refuse(exchange, code, error);
}

enum bw_code classic_client_create(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct submission_limits limits = api_options_limits(api->options);
    json_t *document = json_object_get(exchange_request(exchange)->arguments, "document");
    struct definition *definition;
    struct run run;
    enum bw_code code = definition_new(document, &limits, &definition, error);
    if (code != BW_OK)
        return code;
    run_creation_move_webhooks(exchange, document);
    run_describe(definition, &run);
    return run_create(api, exchange, CLASSIC_CALLER, definition, &run, classic_client_created,
                      error);
}

/* ---- A run by its id ---- */

/* Refuses an unknown run. Runs of other protocols count as unknown. */
static enum bw_code classic_client_refuse_run(const char *id, struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "there is no grading run '%s'", id);
}

enum bw_code classic_client_read_run(struct api *api, const char *id, struct run *run,
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
        return classic_client_refuse_run(id, error);
    if (code != BW_OK || run->protocol == PROTOCOL_CLASSIC)
        return code;
    run_clear(run);
    return classic_client_refuse_run(id, error);
}

enum bw_code classic_client_show(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    return code == BW_OK ? status_answer_send(api, exchange, &run, "", "", error) : code;
}

/* Finds the phase with which the run begins, which follows from its definition. If the definition
 * is cached nothing is read: run_store_start itself checks whether the run exists and may be
 * started. While the database is unavailable the cache is not used, since run_store_start would
 * wait, and a read fails at once. */
static enum bw_code find_first_phase(struct api *api, const struct exchange *exchange,
                                     enum run_phase *first, struct bw_error *error)
{
    struct run run;
    struct definition *definition = NULL;
    const char *id = exchange_request(exchange)->path_id;
    if (!database_is_unavailable(api->database))
        definition = definition_cache_find(api->definitions, id);
    if (definition != NULL && definition_protocol(definition) != PROTOCOL_CLASSIC) {
        definition_release(definition);
        return classic_client_refuse_run(id, error);
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
        return BW_BAD_REQUEST; /* the store's sentence gives the reason, such as: started already */
    return code;
}

/* Cancels a run. Cancelling it again is harmless; a run that is over is refused with its state. */
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
    if (code == BW_OK && run.started_ms == 0) /* it is over now, and no scheduler knows it */
        code = pause_store_delete_run(api->pause_store, id, error);
    if (code == BW_OK)
        exchange_answer_json(exchange, json_object());
    if (code == BW_NOT_FOUND)
        return classic_client_refuse_run(id, error);
    if (code != BW_CONFLICT)
        return code;
    exchange_refuse_with(exchange, code, error, "state", run_phase_name(phase));
    return BW_OK;
}

/* ---- Grading again ---- */

static void classic_client_rerun_started(struct exchange *exchange, const char *run_id)
{
    exchange_answer_json(exchange, json_pack("{s:s}", "id", run_id));
}

static void classic_client_rerun_created(struct api *api, struct exchange *exchange,
                                         enum bw_code code, const struct run *run,
                                         const struct bw_error *error)
{
    if (code == BW_OK)
        run_start(api, exchange, run, classic_client_rerun_started);
    else
        exchange_refuse(exchange, code, error);
}

static enum bw_code classic_client_check_rerun(struct api *api, json_t *object,
                                               struct bw_error *error)
{
    const struct submission_limits limits = api_options_limits(api->options);
    struct definition *checked;
    enum bw_code code = definition_new(object, &limits, &checked, error);
    if (code == BW_OK)
        definition_release(checked);
    return code;
}

enum bw_code classic_client_rerun(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct definition *definition;
    struct run earlier, run;
    enum bw_code code = classic_client_read_run(api, request->path_id, &earlier, error);
    if (code != BW_OK)
        return code;
    code = run_rerun_prepare(api, request->arguments, &earlier, classic_client_check_rerun,
                             &definition, &run, error);
    run_clear(&earlier);
    if (code != BW_OK)
        return code;
    return run_create(api, exchange, CLASSIC_CALLER, definition, &run, classic_client_rerun_created,
                      error);
}
