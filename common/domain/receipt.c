#include "common/domain/receipt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/date.h"
#include "common/base/json_write.h"
#include "common/base/running_digest.h"

static const char *const origin_names[] = {
    [RECEIPT_OF_RESULT] = "result",
    [RECEIPT_OF_CHAIN] = "chain",
};

/* New reference: a string, or null. */
static json_t *receipt_word(const char *text)
{
    return text == NULL || text[0] == '\0' ? json_null() : json_string(text);
}

static json_t *receipt_number(const double *number)
{
    return number == NULL ? json_null() : json_number_new(*number);
}

static json_t *receipt_date(int64_t date_ms)
{
    char text[DATE_TEXT_SIZE];
    return date_ms == 0 ? json_null() : json_string(date_format(date_ms, text));
}

/* Adds how the job ended, and what its result is. */
static void receipt_add_result(json_t *object, const struct receipt *receipt)
{
    json_object_set_new(object, "outcome", receipt_word(outcome_name(receipt->outcome)));
    json_object_set_new(object, "owner", receipt_word(owner_name(receipt->owner)));
    json_object_set_new(object, "reason", receipt_word(receipt->reason));
    json_object_set_new(object, "note", receipt_word(receipt->note));
    json_object_set_new(object, "superseded_by", receipt_word(receipt->superseded_by));
    json_object_set_new(object, "score", receipt_number(receipt->score));
    json_object_set_new(object, "max_score", receipt_number(receipt->max_score));
    json_object_set_new(object, "result", receipt_word(receipt->result));
    json_object_set_new(object, "files", receipt_word(receipt->files));
    json_object_set_new(object, "tests", receipt_word(receipt->tests));
    json_object_set_new(object, "drift", receipt_word(receipt->drift));
    json_object_set_new(object, "sent", receipt_word(receipt->sent));
}

char *receipt_text(const struct receipt *receipt)
{
    json_t *object = json_pack("{s:i,s:s,s:s,s:s}", "version", (int)RECEIPT_VERSION, "made_with",
                               origin_names[receipt->origin], "run_id", receipt->run, "job_id",
                               receipt->job);
    json_object_set_new(object, "definition", receipt_word(receipt->definition));
    json_object_set_new(object, "stages", receipt_word(receipt->stages));
    json_object_set_new(object, "attempt",
                        receipt->attempt > 0 ? json_integer(receipt->attempt) : json_null());
    json_object_set_new(object, "worker", receipt_word(receipt->worker));
    json_object_set_new(object, "handed_out_at", receipt_date(receipt->handed_out_ms));
    json_object_set_new(object, "finished_at", receipt_date(receipt->finished_ms));
    receipt_add_result(object, receipt);
    json_object_set_new(object, "images",
                        receipt->images != NULL ? json_copy((json_t *)(uintptr_t)receipt->images)
                                                : json_array());
    char *text = json_write(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    if (text == NULL)
        abort();
    return text;
}

void receipt_digest(const void *bytes, size_t length, char digest[SHA256_TEXT_SIZE])
{
    struct running_digest *running = running_digest_new();
    running_digest_add(running, bytes, length);
    running_digest_finish(running, digest);
}

/* ---- Images ---- */

static bool receipt_is_short(const json_t *text)
{
    return json_is_string(text) && json_string_length(text) > 0 &&
           json_string_length(text) <= RECEIPT_IMAGE_BYTES;
}

static void receipt_add_stage(json_t *images, const json_t *stage)
{
    json_t *image = json_object_get(stage, "image"),
           *digest = json_object_get(stage, "image_digest");
    if (receipt_is_short(image) && receipt_is_short(digest) &&
        json_array_size(images) < RECEIPT_IMAGES_MAX)
        json_array_append_new(images, json_pack("{s:O,s:O}", "image", image, "digest", digest));
}

static void receipt_add_stages(json_t *images, const json_t *result)
{
    size_t index;
    json_t *stage;
    json_array_foreach (json_object_get(result, "stages"), index, stage)
        receipt_add_stage(images, stage);
}

json_t *receipt_images(const json_t *result)
{
    size_t index;
    json_t *part, *images = json_array();
    receipt_add_stages(images, result);
    json_array_foreach (result, index, part)
        receipt_add_stages(images, part);
    if (json_array_size(images) > 0)
        return images;
    json_decref(images);
    return NULL;
}

/* ---- Signatures and the chain ---- */

void receipt_sign(const struct signing_key *key, const char *digest,
                  char signature[SIGNING_KEY_SIGNATURE_SIZE])
{
    char statement[32 + SHA256_TEXT_SIZE];
    int length = snprintf(statement, sizeof statement, "broadway receipt 1 %s", digest);
    signing_key_sign(key, statement, (size_t)length, signature);
}

void receipt_chain_begin(struct receipt_chain *chain, const char *run)
{
    char statement[32 + RUN_ID_SIZE];
    int length = snprintf(statement, sizeof statement, "broadway chain 1 %s", run);
    chain->count = 0;
    receipt_digest(statement, (size_t)length, chain->head);
}

void receipt_chain_add(struct receipt_chain *chain, const char *digest)
{
    char both[2 * SHA256_TEXT_SIZE];
    int length = snprintf(both, sizeof both, "%s%s", chain->head, digest);
    chain->count++;
    receipt_digest(both, (size_t)length, chain->head);
}

void receipt_chain_sign(const struct signing_key *key, const struct receipt_chain *chain,
                        const char *run, char signature[SIGNING_KEY_SIGNATURE_SIZE])
{
    char statement[64 + RUN_ID_SIZE + SHA256_TEXT_SIZE];
    int length = snprintf(statement, sizeof statement, "broadway chain 1 %s %u %s", run,
                          (unsigned)chain->count, chain->head);
    signing_key_sign(key, statement, (size_t)length, signature);
}
