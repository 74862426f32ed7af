#include "api/grading/status_answer.h"

#include <stdlib.h>

#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/grading/grader_presence.h"
#include "api/grading/result_texts.h"
#include "api/options.h"
#include "common/base/alloc.h"

/* All that the answer is made of. */
struct status_answer {
    struct run run;
    struct definition *definition;
    struct run_facts_found found;
    struct result_texts *texts;
    struct run_status status;
    size_t max_result_bytes;
};

/* Those of the students that follow are read along. */
static enum bw_code add_result(void *context, uint32_t slot, struct text_buffer *text,
                               struct bw_error *error)
{
    struct status_answer *answer = context;
    const struct run_status *status = &answer->status;
    uint32_t end = status->next < status->end ? status->end : slot + 1;
    return result_texts_add(answer->texts, slot, end, text, error);
}

static enum bw_code produce(void *context, struct text_buffer *part, bool *is_last,
                            struct bw_error *error)
{
    struct status_answer *answer = context;
    return run_status_write(&answer->status, part, is_last, error);
}

static void status_answer_release(void *context)
{
    struct status_answer *answer = context;
    result_texts_free(answer->texts);
    run_facts_clear(&answer->found);
    definition_release(answer->definition);
    run_clear(&answer->run);
    free(answer);
}

/* What the database's driver holds of a reply, beside the result that is taken from it. */
enum { REPLY_BYTES = 16 * 1024 * 1024 };

static size_t status_answer_held(const void *context)
{
    const struct status_answer *answer = context;
    return answer->found.count * sizeof *answer->found.jobs + result_texts_held(answer->texts);
}

/* To read results: a reply, and the longest result in it four times (the document, its text, the
 * page, the part). */
static size_t status_answer_needed(const void *context)
{
    const struct status_answer *answer = context;
    return answer->status.view.with_results ? REPLY_BYTES + 4 * answer->max_result_bytes : 0;
}

/* What a job that is queued waits for, if nobody could take it. */
static const char *missing_grader(struct api *api, const struct status_answer *answer)
{
    if (!run_status_has_queued(&answer->run, answer->found.jobs))
        return NULL;
    return grader_presence_missing(api->graders, &answer->run, 0);
}

void status_answer_send(struct api *api, struct exchange *exchange, const struct run *run,
                        struct definition *definition, const struct run_facts_found *found,
                        const struct run_view *view)
{
    struct status_answer *answer = bw_alloc(sizeof *answer);
    answer->run = *run;
    answer->definition = definition;
    answer->found = *found;
    answer->max_result_bytes = (size_t)api->options->max_result_bytes;
    answer->texts = result_texts_new(api->result_store, &answer->run, answer->found.jobs);
    answer->status = (struct run_status){.run = &answer->run,
                                         .definition = definition,
                                         .facts = answer->found.jobs,
                                         .view = *view,
                                         .last_result_ms = found->last_result_ms,
                                         .waiting_for = missing_grader(api, answer),
                                         .result = add_result,
                                         .context = answer};
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = produce,
                                               .release = status_answer_release,
                                               .held = status_answer_held,
                                               .needed = status_answer_needed,
                                               .context = answer});
}
