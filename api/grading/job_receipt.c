#include "api/grading/job_receipt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/receipt_key.h"
#include "api/grading/definition_cache.h"
#include "api/grading/job_attempts.h"
#include "common/db/database.h"
#include "common/domain/receipt.h"

void job_handing_note(struct definition *definition, const struct job_id *job,
                      struct job_handing *handing)
{
    definition_digest(definition, handing->definition);
    if (!definition_stages_digest(definition, job, handing->stages))
        handing->stages[0] = '\0';
}

enum bw_code job_handing_read(struct api *api, const struct job_id *job, const struct lease *lease,
                              struct job_handing *handing, struct bw_error *error)
{
    struct definition *definition;
    *handing = (struct job_handing){.attempt = lease->attempt, .handed_out_ms = lease->leased_ms};
    memcpy(handing->traceparent, lease->traceparent, sizeof handing->traceparent);
    enum bw_code code = definition_cache_get(api->definitions, job->run, &definition, error);
    if (code == BW_UNAVAILABLE)
        return code;
    if (code != BW_OK) /* the run is about to be removed: its result counts all the same */
        return BW_OK;
    job_handing_note(definition, job, handing);
    definition_release(definition);
    return BW_OK;
}

/* Writes the digest of a text; "" for none. */
static void job_receipt_digest(const char *text, char digest[SHA256_TEXT_SIZE])
{
    digest[0] = '\0';
    if (text != NULL)
        receipt_digest(text, strlen(text), digest);
}

bool job_receipt_make(struct api *api, enum protocol protocol, const struct job_handing *handing,
                      const json_t *images, struct result *result)
{
    const struct signing_key *key = receipt_key_get(api->receipt_key);
    char run[RUN_ID_SIZE], worker[WORKER_ID_SIZE], text[SHA256_TEXT_SIZE], files[SHA256_TEXT_SIZE],
        tests[SHA256_TEXT_SIZE], drift[SHA256_TEXT_SIZE], digest[SHA256_TEXT_SIZE];
    if (key == NULL)
        return false;
    snprintf(run, sizeof run, "%.*s", RUN_ID_SIZE - 1, result->job);
    job_attempts_show_worker(protocol, result->worker, worker);
    job_receipt_digest(result->text, text);
    job_receipt_digest(result->files, files);
    job_receipt_digest(result->tests, tests);
    job_receipt_digest(result->drift, drift);
    result->finished_ms = database_now_ms(api->database);
    free(result->receipt.text);
    result->receipt.text = receipt_text(
        &(struct receipt){.origin = RECEIPT_OF_RESULT,
                          .run = run,
                          .job = result->job,
                          .definition = handing->definition,
                          .stages = handing->stages,
                          .attempt = handing->attempt,
                          .worker = worker,
                          .handed_out_ms = handing->handed_out_ms,
                          .finished_ms = result->finished_ms,
                          .outcome = result->outcome,
                          .owner = result->owner,
                          .reason = result->reason,
                          .note = result->note,
                          .score = result->has_score ? &result->score : NULL,
                          .max_score = result->has_max_score ? &result->max_score : NULL,
                          .result = text,
                          .files = files,
                          .tests = tests,
                          .drift = drift,
                          .sent = result->digest,
                          .images = images});
    receipt_digest(result->receipt.text, strlen(result->receipt.text), digest);
    receipt_sign(key, digest, result->receipt.signature);
    memcpy(result->receipt.key, signing_key_public(key), sizeof result->receipt.key);
    return true;
}
