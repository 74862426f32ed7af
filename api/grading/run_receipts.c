#include "api/grading/run_receipts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/receipt_key.h"
#include "api/grading/definition_cache.h"
#include "api/grading/job_attempts.h"
#include "api/grading/run_facts.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"
#include "common/base/date.h"
#include "common/store/receipt_store.h"
#include "common/store/run_jobs.h"

enum {
    PAGE = 64,                    /* receipts that are read at once */
    PAGE_BYTES = 2 * 1024 * 1024, /* of them and the database's reply, for usual receipts */
    WORD_SIZE = 2048              /* of the members around the list */
};

struct run_receipts_answer {
    struct api *api;
    struct run run;
    uint32_t count; /* of jobs */
    char definition[SHA256_TEXT_SIZE];
    struct run_receipts kept;   /* what the chain is, once it is made */
    struct receipt_chain chain; /* what the answer has so far */
    const char *before, *after;
    bool is_begun;
};

/* ---- Receipts ---- */

/* Some receipts, by slot from `first` on. */
struct receipt_page {
    const struct run_receipts_answer *answer;
    uint32_t first, count;
    struct stored_receipt items[PAGE]; /* their texts are owned */
    bool has_result[PAGE];
};

static bool bit_is_set(const uint8_t *bits, uint32_t number)
{
    return (bits[number / 8] >> number % 8 & 1) != 0;
}

/* Whether the chain is about the job's result. */
static bool run_receipts_count_result(const struct run_receipts *kept, uint32_t slot)
{
    return kept->with_result == NULL ||
           (slot / 8 < kept->with_result_length && bit_is_set(kept->with_result, slot));
}

/* Whether a grader may add a report to the result, or has done so: it counts for nothing. */
static bool run_receipts_may_get_report(const struct result *result)
{
    return result->holder[0] != '\0';
}

/* Adds what the grader reported whose result this is. */
static void run_receipts_add_report(const struct result *result, struct receipt *receipt)
{
    receipt->note = result->note;
    receipt->sent = result->digest;
    receipt->score = result->has_score ? &result->score : NULL;
    receipt->max_score = result->has_max_score ? &result->max_score : NULL;
}

/* The receipt of a result that came without one. It depends on nothing that may change: what the
 * holder of a superseded job reports, perhaps after the chain was made, is not in it. */
static char *run_receipts_make(const struct run_receipts_answer *answer,
                               const struct result *result)
{
    char worker[WORKER_ID_SIZE] = "", drift[SHA256_TEXT_SIZE] = "";
    struct receipt receipt = {.origin = RECEIPT_OF_CHAIN,
                              .run = answer->run.id,
                              .job = result->job,
                              .definition = answer->definition,
                              .attempt = result->attempts,
                              .worker = worker,
                              .finished_ms = result->finished_ms,
                              .outcome = result->outcome,
                              .owner = result->owner,
                              .reason = result->reason,
                              .superseded_by = result->superseded_by,
                              .drift = drift};
    if (run_receipts_may_get_report(result))
        return receipt_text(&receipt);
    job_attempts_show_worker(answer->run.protocol, result->worker, worker);
    if (result->drift != NULL)
        receipt_digest(result->drift, strlen(result->drift), drift);
    run_receipts_add_report(result, &receipt);
    return receipt_text(&receipt);
}

static void receipt_page_take(const struct result *result, void *context)
{
    struct receipt_page *page = context;
    const struct run_receipts_answer *answer = page->answer;
    uint32_t slot;
    if (!run_job_id_slot(&answer->run, result->job, &slot) || slot - page->first >= page->count ||
        !run_receipts_count_result(&answer->kept, slot))
        return;
    struct stored_receipt *item = &page->items[slot - page->first];
    page->has_result[slot - page->first] = true;
    free(item->text);
    bool has_own = result->receipt.text != NULL && !run_receipts_may_get_report(result);
    *item = has_own ? result->receipt : (struct stored_receipt){.text = NULL};
    item->text = has_own ? bw_copy(result->receipt.text) : run_receipts_make(answer, result);
}

static void receipt_page_clear(struct receipt_page *page)
{
    for (uint32_t i = 0; i < page->count; i++)
        free(page->items[i].text);
}

/* Reads the receipts from slot `first` on. On BW_OK the caller calls receipt_page_clear. */
static enum bw_code receipt_page_read(const struct run_receipts_answer *answer, uint32_t first,
                                      struct receipt_page *page, struct bw_error *error)
{
    char ids[PAGE][JOB_ID_SIZE];
    uint32_t left = answer->count - first;
    *page = (struct receipt_page){
        .answer = answer, .first = first, .count = left < PAGE ? left : PAGE};
    for (uint32_t i = 0; i < page->count; i++)
        run_slot_job_id(&answer->run, first + i, ids[i]);
    enum bw_code code = result_store_read_receipts(answer->api->result_store,
                                                   (const char(*)[JOB_ID_SIZE])ids, page->count,
                                                   receipt_page_take, page, error);
    if (code != BW_OK) {
        receipt_page_clear(page);
        return code;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        struct result never_ran = {.outcome = OUTCOME_CANCELLED};
        memcpy(never_ran.job, ids[i], sizeof never_ran.job);
        if (page->items[i].text == NULL)
            page->items[i].text = run_receipts_make(answer, &never_ran);
    }
    return BW_OK;
}

/* ---- Making the chain ---- */

static enum bw_code run_receipts_sign(const struct run_receipts_answer *answer,
                                      struct run_receipts *proposed, struct bw_error *error)
{
    const struct signing_key *key = receipt_key_get(answer->api->receipt_key);
    if (key == NULL)
        return bw_fail(error, BW_UNAVAILABLE,
                       "this server is starting: it does not know its key for receipts yet");
    receipt_chain_sign(key, &proposed->chain, answer->run.id, proposed->signature);
    memcpy(proposed->key, signing_key_public(key), sizeof proposed->key);
    return BW_OK;
}

/* Adds all receipts to the chain. *has_all: each job has a result. */
static enum bw_code run_receipts_chain(const struct run_receipts_answer *answer,
                                       struct run_receipts *proposed, bool *has_all,
                                       struct bw_error *error)
{
    struct receipt_page page;
    *has_all = true;
    receipt_chain_begin(&proposed->chain, answer->run.id);
    for (uint32_t first = 0; first < answer->count; first += PAGE) {
        enum bw_code code = receipt_page_read(answer, first, &page, error);
        if (code != BW_OK)
            return code;
        for (uint32_t i = 0; i < page.count; i++) {
            char digest[SHA256_TEXT_SIZE];
            receipt_digest(page.items[i].text, strlen(page.items[i].text), digest);
            receipt_chain_add(&proposed->chain, digest);
            *has_all = *has_all && page.has_result[i];
            if (page.has_result[i])
                proposed->with_result[(first + i) / 8] |= (uint8_t)(1U << (first + i) % 8);
        }
        receipt_page_clear(&page);
    }
    return BW_OK;
}

/* Makes the chain, unless another replica is faster. If the run is removed meanwhile, the chain is
 * removed again. */
static enum bw_code run_receipts_store(struct run_receipts_answer *answer, struct bw_error *error)
{
    struct receipt_store *store = answer->api->receipt_store;
    uint32_t length = (answer->count + 7) / 8;
    uint8_t *with_result = bw_alloc(length + 1);
    struct run_receipts proposed = {.with_result = with_result, .with_result_length = length};
    struct run run;
    bool has_all;
    memcpy(proposed.run, answer->run.id, sizeof proposed.run);
    enum bw_code code = run_receipts_chain(answer, &proposed, &has_all, error);
    if (code == BW_OK && has_all)
        proposed.with_result = NULL;
    if (code == BW_OK)
        code = run_receipts_sign(answer, &proposed, error);
    if (code == BW_OK)
        code = receipt_store_agree(store, &proposed, &answer->kept, error);
    free(with_result);
    if (code != BW_OK)
        return code;
    code = run_store_read(answer->api->run_store, answer->run.id, &run, error);
    if (code == BW_OK)
        run_clear(&run);
    if (code == BW_NOT_FOUND && receipt_store_delete(store, answer->run.id, error) != BW_OK)
        return BW_UNAVAILABLE;
    return code;
}

/* ---- The answer ---- */

void run_receipts_write(const struct stored_receipt *receipt, const char *link,
                        struct text_buffer *text)
{
    char digest[SHA256_TEXT_SIZE], rest[512];
    bool is_signed = receipt->signature[0] != '\0';
    const char *quote = is_signed ? "\"" : "";
    receipt_digest(receipt->text, strlen(receipt->text), digest);
    text_buffer_add_text(text, "{\"receipt\":");
    text_buffer_add_text(text, receipt->text);
    snprintf(rest, sizeof rest, ",\"hash\":\"%s\",\"key\":%s%s%s,\"signature\":%s%s%s", digest,
             quote, is_signed ? receipt->key : "null", quote, quote,
             is_signed ? receipt->signature : "null", quote);
    text_buffer_add_text(text, rest);
    if (link != NULL) {
        text_buffer_add_text(text, ",\"link\":\"");
        text_buffer_add_text(text, link);
        text_buffer_add_text(text, "\"");
    }
    text_buffer_add_text(text, "}");
}

static void run_receipts_write_begin(const struct run_receipts_answer *answer,
                                     struct text_buffer *part)
{
    char text[WORD_SIZE], date[DATE_TEXT_SIZE];
    const struct run_receipts *kept = &answer->kept;
    text_buffer_add_text(part, answer->before);
    snprintf(text, sizeof text,
             "{\"version\":%d,\"run_id\":\"%s\",\"count\":%u,\"head\":\"%s\",\"key\":\"%s\","
             "\"signature\":\"%s\",\"made_at\":\"%s\",\"receipts\":[",
             (int)RECEIPT_VERSION, answer->run.id, (unsigned)kept->chain.count, kept->chain.head,
             kept->key, kept->signature, date_format(kept->made_ms, date));
    text_buffer_add_text(part, text);
}

/* Writes the next receipts, with the links that they make now. */
static enum bw_code run_receipts_write_page(struct run_receipts_answer *answer,
                                            struct text_buffer *part, struct bw_error *error)
{
    struct receipt_page page;
    enum bw_code code = receipt_page_read(answer, answer->chain.count, &page, error);
    if (code != BW_OK)
        return code;
    for (uint32_t i = 0; i < page.count; i++) {
        char digest[SHA256_TEXT_SIZE];
        receipt_digest(page.items[i].text, strlen(page.items[i].text), digest);
        text_buffer_add_text(part, answer->chain.count == 0 ? "" : ",");
        receipt_chain_add(&answer->chain, digest);
        run_receipts_write(&page.items[i], answer->chain.head, part);
    }
    receipt_page_clear(&page);
    return BW_OK;
}

static enum bw_code run_receipts_produce(void *context, struct text_buffer *part, bool *is_last,
                                         struct bw_error *error)
{
    struct run_receipts_answer *answer = context;
    enum bw_code code = BW_OK;
    if (!answer->is_begun)
        run_receipts_write_begin(answer, part);
    answer->is_begun = true;
    if (answer->chain.count < answer->count)
        code = run_receipts_write_page(answer, part, error);
    *is_last = code == BW_OK && answer->chain.count == answer->count;
    if (*is_last) {
        text_buffer_add_text(part, "]}");
        text_buffer_add_text(part, answer->after);
    }
    return code;
}

static size_t run_receipts_needed(const void *context)
{
    (void)context;
    return PAGE_BYTES;
}

static void run_receipts_release(void *context)
{
    struct run_receipts_answer *answer = context;
    run_receipts_clear(&answer->kept);
    run_clear(&answer->run);
    free(answer);
}

/* ---- Reading the run ---- */

static enum bw_code run_receipts_check_over(const struct run_receipts_answer *answer,
                                            enum run_phase *phase, struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = answer->api->lease_store,
                                              .results = answer->api->result_store};
    struct run_facts_found found;
    enum bw_code code = run_facts_read(&sources, &answer->run, &found, error);
    if (code != BW_OK)
        return code;
    *phase = run_status_phase(&answer->run, found.jobs);
    run_facts_clear(&found);
    if (run_phase_is_over(*phase))
        return BW_OK;
    return bw_fail(error, BW_CONFLICT,
                   "the grading run '%s' has not ended: its receipts are chained at its end",
                   answer->run.id);
}

static enum bw_code run_receipts_read_definition(struct run_receipts_answer *answer,
                                                 struct bw_error *error)
{
    struct definition *definition;
    enum bw_code code = definition_cache_get(answer->api->definitions, answer->run.id, &definition,
                                             error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", answer->run.id);
    if (code != BW_OK)
        return code;
    definition_digest(definition, answer->definition);
    definition_release(definition);
    return BW_OK;
}

static enum bw_code run_receipts_prepare(struct run_receipts_answer *answer, enum run_phase *phase,
                                         struct bw_error *error)
{
    enum bw_code code = run_receipts_check_over(answer, phase, error);
    if (code == BW_OK)
        code = run_receipts_read_definition(answer, error);
    if (code == BW_OK)
        code = receipt_store_read(answer->api->receipt_store, answer->run.id, &answer->kept, error);
    if (code == BW_NOT_FOUND)
        code = run_receipts_store(answer, error);
    return code;
}

enum bw_code run_receipts_send(struct api *api, struct exchange *exchange, const struct run *run,
                               const char *before, const char *after, enum run_phase *phase,
                               struct bw_error *error)
{
    struct run_receipts_answer *answer = bw_alloc(sizeof *answer);
    answer->api = api;
    answer->run = *run;
    answer->count = run_job_count(run->has_pre, run->students, run->has_post);
    answer->before = before;
    answer->after = after;
    receipt_chain_begin(&answer->chain, run->id);
    enum bw_code code = run_receipts_prepare(answer, phase, error);
    if (code != BW_OK) {
        run_receipts_release(answer);
        return code;
    }
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = run_receipts_produce,
                                               .release = run_receipts_release,
                                               .needed = run_receipts_needed,
                                               .context = answer});
    return BW_OK;
}

enum bw_code run_receipts_show_key(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct signing_key *key = receipt_key_get(api->receipt_key);
    if (key == NULL)
        return bw_fail(error, BW_UNAVAILABLE,
                       "this server is starting: it does not know its key for receipts yet");
    exchange_answer_json(exchange,
                         json_pack("{s:s,s:s,s:s}", "algorithm", "Ed25519", "key",
                                   signing_key_public(key), "pem", signing_key_public_pem(key)));
    return BW_OK;
}
