#include "api/grading/run_spans.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/http/exchange.h"
#include "common/base/otlp.h"
#include "common/db/database.h"
#include "common/domain/trace.h"

enum { LONGEST_STAGE_S = 7 * 86400 };

void run_spans_take(const struct exchange *exchange, struct run *run)
{
    struct trace trace;
    run->traceparent[0] = '\0';
    if (trace_parse(exchange_header(exchange, TRACEPARENT_HEADER), &trace))
        trace_format(&trace, trace.parent, run->traceparent);
}

static void run_spans_begin(const struct trace *trace, const char *name, const char *run_id,
                            struct span *span)
{
    memset(span, 0, sizeof *span);
    snprintf(span->trace, sizeof span->trace, "%s", trace->id);
    span->name = name;
    span_set(span, "broadway.run", run_id);
}

void run_spans_submitted(struct api *api, const struct run *run)
{
    struct trace trace;
    struct span span;
    if (api->otlp == NULL)
        return;
    trace_of_run(run->id, run->traceparent, &trace);
    if (!trace.is_sampled)
        return;
    run_spans_begin(&trace, SPAN_SUBMIT, run->id, &span);
    trace_span_id(run->id, "", 0, SPAN_SUBMIT, span.id);
    trace_span_id(run->id, "", 0, SPAN_RUN, span.parent);
    span.begun_ms = run->created_ms;
    span.ended_ms = database_now_ms(api->database);
    otlp_add(api->otlp, &span);
}

static void run_spans_note_stages(const json_t *result, struct run_spans_result *noted)
{
    size_t index;
    json_t *stage;
    json_array_foreach (json_object_get(result, "stages"), index, stage) {
        double seconds = json_number_value(json_object_get(stage, "seconds"));
        const json_t *exit_code = json_object_get(stage, "exit_code");
        if (noted->stages == RUN_SPANS_STAGES || !(seconds >= 0 && seconds < LONGEST_STAGE_S))
            return;
        noted->stage_ms[noted->stages] = (int64_t)(seconds * 1000);
        noted->has_failed[noted->stages++] = json_is_integer(exit_code) &&
                                             json_integer_value(exit_code) != 0;
    }
}

void run_spans_note_result(struct api *api, const json_t *result, struct run_spans_result *noted)
{
    size_t index;
    json_t *part;
    if (api->otlp == NULL)
        return;
    noted->received_ms = database_now_ms(api->database);
    noted->stages = 0;
    run_spans_note_stages(result, noted);
    json_array_foreach (result, index, part)
        run_spans_note_stages(part, noted);
}

/* The stages, one behind the other, up to the moment when the result came. */
static void run_spans_export_stages(struct api *api, const struct span *like, const char *job,
                                    const struct job_handing *handing,
                                    const struct run_spans_result *noted)
{
    char name[24], number[16];
    int64_t at_ms = noted->received_ms;
    for (unsigned i = noted->stages; i > 0; i--) {
        struct span span = *like;
        snprintf(number, sizeof number, "%u", i - 1);
        snprintf(name, sizeof name, SPAN_STAGE " %u", i - 1);
        trace_span_id(like->attributes[0].value, job, handing->attempt, name, span.id);
        span.name = SPAN_STAGE;
        span.ended_ms = at_ms;
        at_ms -= noted->stage_ms[i - 1];
        if (at_ms < handing->handed_out_ms)
            at_ms = handing->handed_out_ms < span.ended_ms ? handing->handed_out_ms : span.ended_ms;
        span.begun_ms = at_ms;
        span.has_failed = noted->has_failed[i - 1];
        span_set(&span, "broadway.stage", number);
        otlp_add(api->otlp, &span);
    }
}

void run_spans_result_stored(struct api *api, const struct job_id *job,
                             const struct job_handing *handing,
                             const struct run_spans_result *noted)
{
    struct trace attempt;
    struct span span;
    char job_id[JOB_ID_SIZE], number[16];
    if (api->otlp == NULL || !trace_parse(handing->traceparent, &attempt) || !attempt.is_sampled)
        return;
    job_id_format(job, job_id);
    snprintf(number, sizeof number, "%u", (unsigned)handing->attempt);
    run_spans_begin(&attempt, SPAN_RESULT, job->run, &span);
    snprintf(span.parent, sizeof span.parent, "%s", attempt.parent);
    span_set(&span, "broadway.job", job_id);
    span_set(&span, "broadway.attempt", number);
    run_spans_export_stages(api, &span, job_id, handing, noted);
    trace_span_id(job->run, job_id, handing->attempt, SPAN_RESULT, span.id);
    span.begun_ms = noted->received_ms;
    span.ended_ms = database_now_ms(api->database);
    otlp_add(api->otlp, &span);
}
