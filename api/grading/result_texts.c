#include "api/grading/result_texts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct result_texts {
    struct result_store *store;
    const struct run *run;
    const struct job_fact *facts;
    uint32_t wanted; /* how many are read at once: as many as were kept of the last page */
    uint32_t slots[RESULT_PAGE_MAX]; /* the page, in order */
    struct text_buffer found[RESULT_PAGE_MAX];
    uint32_t count;
    size_t bytes;
};

struct result_texts *result_texts_new(struct result_store *store, const struct run *run,
                                      const struct job_fact *facts)
{
    struct result_texts *texts = bw_alloc(sizeof *texts);
    texts->store = store;
    texts->run = run;
    texts->facts = facts;
    texts->wanted = 1; /* the driver holds a whole reply, and keeps room for the next as long */
    return texts;
}

static void clear_page(struct result_texts *texts)
{
    for (uint32_t i = 0; i < texts->count; i++)
        text_buffer_clear(&texts->found[i]);
    texts->count = 0;
    texts->bytes = 0;
}

void result_texts_free(struct result_texts *texts)
{
    if (texts == NULL)
        return;
    clear_page(texts);
    free(texts);
}

/* Its place in the page; `count` if it is not there. */
static uint32_t find_slot(const struct result_texts *texts, uint32_t slot)
{
    uint32_t at = 0;
    while (at < texts->count && texts->slots[at] != slot)
        at++;
    return at;
}

/* Keeps the first of the page, and others while there is room. */
static void result_texts_take_text(const struct result *result, void *context)
{
    struct result_texts *texts = context;
    const struct run *run = texts->run;
    struct job_id id;
    uint32_t slot;
    if (!job_id_parse(result->job, &id) ||
        !run_job_slot(run->has_pre, run->students, run->has_post, id.kind, id.index, &slot))
        return;
    uint32_t at = find_slot(texts, slot);
    bool has_room = at == 0 || texts->bytes + result->text_length <= RESULT_PAGE_BYTES;
    if (at == texts->count || !has_room || texts->found[at].length > 0)
        return;
    if (result->text != NULL)
        text_buffer_add(&texts->found[at], result->text, result->text_length);
    else if (result->reason[0] != '\0')
        text_buffer_add_new(&texts->found[at], json_string(result->reason));
    else
        text_buffer_add_text(&texts->found[at], "null");
    if (result->note[0] != '\0') {
        text_buffer_add_text(&texts->found[at], ",\"note\":");
        text_buffer_add_new(&texts->found[at], json_string(result->note));
    }
    texts->bytes += texts->found[at].length;
}

/* How many from the beginning of the page were kept: as many are asked for next, or twice as many
 * if they were far from filling it. */
static void adapt(struct result_texts *texts)
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

static enum bw_code read_page(struct result_texts *texts, uint32_t slot, uint32_t end,
                              struct bw_error *error)
{
    char ids[RESULT_PAGE_MAX][JOB_ID_SIZE];
    clear_page(texts);
    for (; slot < end && texts->count < texts->wanted; slot++) {
        enum job_kind kind;
        uint32_t index;
        if (texts->facts[slot].outcome == OUTCOME_NONE)
            continue;
        run_slot_job(texts->run->has_pre, texts->run->students, slot, &kind, &index);
        job_id_make(texts->run->id, kind, index, ids[texts->count]);
        texts->slots[texts->count++] = slot;
    }
    enum bw_code code = result_store_read(texts->store, (const char(*)[JOB_ID_SIZE])ids,
                                          texts->count, true, result_texts_take_text, texts, error);
    adapt(texts);
    return code;
}

enum bw_code result_texts_add(struct result_texts *texts, uint32_t slot, uint32_t end,
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

size_t result_texts_held(const struct result_texts *texts)
{
    size_t held = 0;
    for (uint32_t i = 0; i < texts->count; i++)
        held += texts->found[i].size;
    return held;
}
