#include "api/grading/result_pages.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/json_write.h"
#include "common/store/job_results.h"

struct result_pages {
    struct result_store *store;
    const struct run *run;
    const struct job_fact *facts;
    uint32_t
        wanted; /* the number of results in the next read: as many as were kept of the last page */
    uint32_t slots[RESULT_PAGE_MAX]; /* the page's slots, in order */
    struct text_buffer found[RESULT_PAGE_MAX];
    uint32_t count;
    size_t bytes;
};

/* Bytes of a reply that the database's driver holds. */
enum { REPLY_BYTES = 16 * 1024 * 1024 };

size_t result_pages_need(size_t max_result_bytes)
{
    return REPLY_BYTES + 4 * max_result_bytes;
}

struct result_pages *result_pages_new(struct result_store *store, const struct run *run,
                                      const struct job_fact *facts)
{
    struct result_pages *texts = bw_alloc(sizeof *texts);
    texts->store = store;
    texts->run = run;
    texts->facts = facts;
    texts->wanted =
        1; /* the driver holds a whole reply, and a buffer of the same length for the next one */
    return texts;
}

static void clear_page(struct result_pages *texts)
{
    for (uint32_t i = 0; i < texts->count; i++)
        text_buffer_clear(&texts->found[i]);
    texts->count = 0;
    texts->bytes = 0;
}

void result_pages_free(struct result_pages *texts)
{
    if (texts == NULL)
        return;
    clear_page(texts);
    free(texts);
}

/* The index of `slot` in the page; `count`: it is not there. */
static uint32_t find_slot(const struct result_pages *texts, uint32_t slot)
{
    uint32_t at = 0;
    while (at < texts->count && texts->slots[at] != slot)
        at++;
    return at;
}

static void result_pages_add_scores(const struct result *result, struct text_buffer *text)
{
    if (result->has_score) {
        text_buffer_add_text(text, ",\"score\":");
        text_buffer_add_new(text, json_number_new(result->score));
    }
    if (result->has_max_score) {
        text_buffer_add_text(text, ",\"max_score\":");
        text_buffer_add_new(text, json_number_new(result->max_score));
    }
    if (result->tests != NULL) {
        text_buffer_add_text(text, ",\"tests\":");
        text_buffer_add_text(text, result->tests);
    }
}

static void result_pages_add_member(struct text_buffer *text, const char *key, const char *word)
{
    if (word == NULL || word[0] == '\0')
        return;
    text_buffer_add_text(text, ",\"");
    text_buffer_add_text(text, key);
    text_buffer_add_text(text, "\":");
    text_buffer_add_new(text, json_string(word));
}

void result_pages_write(const struct result *result, struct text_buffer *text)
{
    if (result->text != NULL)
        text_buffer_add(text, result->text, result->text_length);
    else if (result->reason[0] != '\0')
        text_buffer_add_new(text, json_string(result->reason));
    else
        text_buffer_add_text(text, "null");
    result_pages_add_member(text, "superseded_by", result->superseded_by);
    result_pages_add_member(text, "reported", outcome_name(result->reported));
    result_pages_add_member(text, "note", result->note);
    if (result->files != NULL) {
        text_buffer_add_text(text, ",\"files\":");
        text_buffer_add_text(text, result->files);
    }
    result_pages_add_scores(result, text);
    result_pages_add_member(text, "signature", result->signature);
}

/* Keeps a result that was read: the first one of the page always, others while there is room. */
static void result_pages_take_text(uint32_t slot, const struct result *result, void *context)
{
    struct result_pages *texts = context;
    uint32_t at = find_slot(texts, slot);
    size_t length = result->text_length + (result->tests != NULL ? strlen(result->tests) : 0);
    bool has_room = at == 0 || texts->bytes + length <= RESULT_PAGE_BYTES;
    if (at == texts->count || !has_room || texts->found[at].length > 0)
        return;
    result_pages_write(result, &texts->found[at]);
    texts->bytes += texts->found[at].length;
}

/* Sets the size of the next read: the number of results that were kept from the beginning of the
 * page, or twice as many if the page was far from full. */
static void result_pages_adapt_wanted(struct result_pages *texts)
{
    uint32_t kept = 0;
    while (kept < texts->count && texts->found[kept].length > 0)
        kept++;
    if (kept < texts->count)
        texts->wanted = kept > 0 ? kept : 1;
    else if (texts->bytes < RESULT_PAGE_BYTES / 2 && texts->wanted < RESULT_PAGE_MAX)
        texts->wanted *= 2;
    if (texts->wanted > RESULT_PAGE_MAX)
        texts->wanted = RESULT_PAGE_MAX;
}

static enum bw_code read_page(struct result_pages *texts, uint32_t slot, uint32_t end,
                              struct bw_error *error)
{
    const struct job_results results = {.store = texts->store,
                                        .run = texts->run,
                                        .with_text = true,
                                        .take = result_pages_take_text,
                                        .context = texts};
    clear_page(texts);
    for (; slot < end && texts->count < texts->wanted; slot++)
        if (texts->facts[slot].outcome != OUTCOME_NONE)
            texts->slots[texts->count++] = slot;
    const struct slot_list slots = {texts->slots, texts->count};
    enum bw_code code = job_results_read(&results, &slots, error);
    result_pages_adapt_wanted(texts);
    return code;
}

enum bw_code result_pages_add(struct result_pages *texts, uint32_t slot, uint32_t end,
                              struct text_buffer *text, struct bw_error *error)
{
    uint32_t at = find_slot(texts, slot);
    if (at == texts->count || texts->found[at].length == 0) {
        enum bw_code code = read_page(texts, slot, end, error);
        if (code != BW_OK)
            return code;
        at = 0;
    }
    struct text_buffer *found = &texts->found[at];
    if (found->length == 0)
        return bw_fail(error, BW_UNAVAILABLE,
                       "a result of the grading run '%s' can't be read: it is being removed",
                       texts->run->id);
    text_buffer_add(text, found->bytes, found->length);
    text_buffer_clear(found);
    return BW_OK;
}

size_t result_pages_held(const struct result_pages *texts)
{
    size_t held = 0;
    for (uint32_t i = 0; i < texts->count; i++)
        held += texts->found[i].size;
    return held;
}
