#include "api/grading/job_file_request.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/delivery_table.h"
#include "api/grading/file_transfer.h"
#include "api/grading/hand_out_files.h"
#include "api/grading/job_claim.h"
#include "common/base/json.h"
#include "common/store/run_store.h"

/* Whether the worker ever received the job. */
static enum bw_code claim_job(struct api *api, const struct job_file_request *request,
                              struct job_claim *claim, struct bw_error *error)
{
    struct lease unused;
    enum bw_code code = job_claim_make(request->job, request->worker, request->protocol, claim,
                                       error);
    if (code == BW_OK && !delivery_table_has(api->hand_outs, claim->id, claim->worker))
        code = job_claim_check(api, claim, &unused, error);
    return code == BW_NOT_FOUND || code == BW_CONFLICT ? BW_BAD_REQUEST : code;
}

/* The scope of the run's files: its course. */
static enum bw_code read_scope(struct api *api, const char *run_id, char scope[WORKER_ID_SIZE],
                               struct bw_error *error)
{
    struct run run;
    enum bw_code code = run_store_read(api->run_store, run_id, &run, error);
    if (code != BW_OK)
        return code == BW_NOT_FOUND ? BW_BAD_REQUEST : code;
    snprintf(scope, WORKER_ID_SIZE, "%s", run.course);
    run_clear(&run);
    return BW_OK;
}

/* ---- Fetching ---- */

static bool has_digest(const json_t *files, const char *digest)
{
    size_t index;
    json_t *entry;
    json_array_foreach (files, index, entry) {
        const char *own = json_string_value(json_object_get(entry, "digest"));
        if (own != NULL && strcmp(own, digest) == 0)
            return true;
    }
    return false;
}

/* BW_BAD_REQUEST: the job's hand-out has no file with this digest. */
static enum bw_code check_digest(struct api *api, const struct job_claim *claim, const char *digest,
                                 struct bw_error *error)
{
    struct definition *definition;
    json_auto_t *files = NULL;
    char shown[128];
    enum bw_code code = definition_cache_get(api->definitions, claim->job.run, &definition, error);
    if (code != BW_OK)
        return code == BW_NOT_FOUND ? BW_BAD_REQUEST : code;
    code = hand_out_files_read(api, definition, &claim->job, &files, error);
    definition_release(definition);
    if (code == BW_OK && !has_digest(files, digest))
        code = bw_fail(error, BW_BAD_REQUEST, "job '%s' has no file '%s'", claim->id,
                       text_show(digest, shown, sizeof shown));
    return code;
}

enum bw_code job_file_send(struct api *api, struct exchange *exchange,
                           const struct job_file_request *request, const char *digest,
                           struct bw_error *error)
{
    struct job_claim claim;
    char scope[WORKER_ID_SIZE];
    enum bw_code code = claim_job(api, request, &claim, error);
    if (code == BW_OK)
        code = check_digest(api, &claim, digest, error);
    if (code == BW_OK)
        code = read_scope(api, claim.job.run, scope, error);
    return code == BW_OK ? file_transfer_send(api, exchange, scope, digest, error) : code;
}

/* ---- Storing ---- */

enum bw_code job_file_receive(struct api *api, struct exchange *exchange,
                              const struct job_file_request *request, json_t **stored,
                              struct bw_error *error)
{
    struct job_claim claim;
    char scope[WORKER_ID_SIZE];
    enum bw_code code = claim_job(api, request, &claim, error);
    if (code == BW_OK)
        code = read_scope(api, claim.job.run, scope, error);
    return code == BW_OK ? file_transfer_receive(api, exchange, scope, stored, error) : code;
}
