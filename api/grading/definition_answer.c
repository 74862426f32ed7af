#include "api/grading/definition_answer.h"

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/http/answer_stream.h"
#include "common/domain/definition_submitted.h"

enum bw_code definition_answer_send(struct api *api, struct exchange *exchange, struct run *run,
                                    const char *before, const char *after, struct bw_error *error)
{
    struct definition *definition;
    enum bw_code code = definition_cache_get(api->definitions, run->id, &definition, error);
    if (code == BW_NOT_FOUND)
        code = bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", run->id);
    run_clear(run);
    if (code != BW_OK)
        return code;
    json_t *submitted = definition_submitted(definition);
    answer_stream_send_json(api->answer_streams, exchange, before, submitted, after);
    json_decref(submitted);
    definition_release(definition);
    return BW_OK;
}
