#include "api/grading/estimate_answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/uplink/scheduler_queries.h"
#include "common/base/alloc.h"

struct estimate_answer {
    struct exchange *exchange;
    void (*answer)(struct exchange *exchange, json_t *data);
};

/* An earlier version's scheduler answers null. */
static void estimate_answered(enum bw_code code, const struct query_answer *answer, void *context)
{
    static const struct bw_error unanswered = {"no scheduler answered: try again"};
    struct estimate_answer own = *(struct estimate_answer *)context;
    free(context);
    if (code != BW_OK || !json_is_object(answer->value))
        exchange_refuse(own.exchange, BW_UNAVAILABLE, &unanswered);
    else
        own.answer(own.exchange, json_deep_copy(answer->value));
}

enum bw_code estimate_answer_ask(struct api *api, struct exchange *exchange, enum query_kind kind,
                                 const char *subject,
                                 void (*answer)(struct exchange *exchange, json_t *data))
{
    struct estimate_answer *own = bw_alloc(sizeof *own);
    *own = (struct estimate_answer){exchange, answer};
    struct query query = {.kind = kind,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = estimate_answered,
                          .context = own};
    snprintf(query.subject, sizeof query.subject, "%s", subject);
    scheduler_queries_ask(api->queries, &query);
    return BW_PENDING;
}
