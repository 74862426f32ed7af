#include "scheduler/rules/spans.h"

#include <stdio.h>
#include <string.h>

#include "common/domain/trace.h"

void spans_note_lease(const struct scheduler *scheduler, struct live_lease *lease,
                      const struct offer *offer)
{
    lease->leased_at_ms = scheduler->date_ms;
    lease->waited_from_ms = offer->attempt == 1
                                ? offer->run->run.started_ms
                                : scheduler->date_ms - (scheduler->now_ms - offer->retry->due_ms);
}

void spans_traceparent(const struct scheduler *scheduler, const struct live_lease *lease,
                       char traceparent[TRACEPARENT_SIZE])
{
    const struct run *run = &lease->run->run;
    struct trace trace;
    char attempt[TRACE_SPAN_SIZE];
    traceparent[0] = '\0';
    if (run->traceparent[0] == '\0' && !scheduler->settings.exports_spans)
        return;
    trace_of_run(run->id, run->traceparent, &trace);
    trace_span_id(run->id, lease->job, lease->attempt, SPAN_ATTEMPT, attempt);
    trace_format(&trace, attempt, traceparent);
}

/* Begins a span of the run's trace; false: it is not to be exported. */
static bool spans_begin(const struct scheduler *scheduler, const struct active_run *run,
                        struct span *span)
{
    struct trace trace;
    if (!scheduler->settings.exports_spans)
        return false;
    trace_of_run(run->run.id, run->run.traceparent, &trace);
    memset(span, 0, sizeof *span);
    snprintf(span->trace, sizeof span->trace, "%s", trace.id);
    snprintf(span->parent, sizeof span->parent, "%s", trace.parent);
    span->ended_ms = scheduler->date_ms;
    span_set(span, "broadway.run", run->run.id);
    return trace.is_sampled;
}

static void spans_export_of_lease(struct scheduler *scheduler, const struct live_lease *lease,
                                  const char *name, const char *parent, int64_t begun_ms,
                                  int64_t ended_ms, const char *trouble)
{
    struct span span;
    char attempt[16];
    const char *run_id = lease->run->run.id;
    if (begun_ms == 0 || !spans_begin(scheduler, lease->run, &span))
        return;
    bool is_of_job = strcmp(parent, SPAN_JOB) == 0;
    span.name = name;
    trace_span_id(run_id, lease->job, lease->attempt, name, span.id);
    trace_span_id(run_id, lease->job, is_of_job ? 0 : lease->attempt, parent, span.parent);
    span.begun_ms = begun_ms;
    span.ended_ms = ended_ms;
    span.has_failed = trouble != NULL;
    snprintf(attempt, sizeof attempt, "%u", (unsigned)lease->attempt);
    span_set(&span, "broadway.job", lease->job);
    span_set(&span, "broadway.attempt", attempt);
    if (trouble != NULL)
        span_set(&span, "broadway.end", trouble);
    scheduler_export_span(scheduler, &span);
}

void spans_handed_out(struct scheduler *scheduler, const struct live_lease *lease)
{
    if (lease->redeliveries > 0)
        return;
    spans_export_of_lease(scheduler, lease, SPAN_WAIT, SPAN_JOB, lease->waited_from_ms,
                          lease->leased_at_ms, NULL);
    spans_export_of_lease(scheduler, lease, SPAN_HAND_OUT, SPAN_ATTEMPT, lease->leased_at_ms,
                          scheduler->date_ms, NULL);
}

void spans_attempt_ended(struct scheduler *scheduler, const struct live_lease *lease,
                         const char *trouble)
{
    spans_export_of_lease(scheduler, lease, SPAN_ATTEMPT, SPAN_JOB, lease->leased_at_ms,
                          scheduler->date_ms, trouble);
}

void spans_job_ended(struct scheduler *scheduler, const struct active_run *run,
                     const struct result *result)
{
    struct span span;
    if (result->outcome == OUTCOME_NONE || !spans_begin(scheduler, run, &span))
        return;
    span.name = SPAN_JOB;
    trace_span_id(run->run.id, result->job, 0, SPAN_JOB, span.id);
    trace_span_id(run->run.id, "", 0, SPAN_RUN, span.parent);
    span.begun_ms = run->run.started_ms;
    span.has_failed = result->outcome == OUTCOME_FAILED;
    span_set(&span, "broadway.job", result->job);
    span_set(&span, "broadway.outcome", outcome_name(result->outcome));
    scheduler_export_span(scheduler, &span);
}

void spans_run_ended(struct scheduler *scheduler, const struct active_run *run)
{
    struct span span;
    if (!spans_begin(scheduler, run, &span))
        return;
    span.name = SPAN_RUN;
    trace_span_id(run->run.id, "", 0, SPAN_RUN, span.id);
    span.begun_ms = run->run.created_ms;
    span.has_failed = run->phase == RUN_FAILED;
    span_set(&span, "broadway.state", run_phase_name(run->phase));
    scheduler_export_span(scheduler, &span);
}
