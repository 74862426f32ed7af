/*
 * trace: the context of a distributed trace as W3C's header `traceparent` has it, and the ids that
 * a run's trace uses. The ids are computed from those of run, job and attempt, so that every
 * process names the same spans alike. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_TRACE_H
#define COMMON_DOMAIN_TRACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    TRACE_ID_SIZE = 33,    /* 32 hex digits and a NUL */
    TRACE_SPAN_SIZE = 17,  /* 16 hex digits and a NUL */
    TRACEPARENT_SIZE = 56, /* of the text, in version 00 */
};

#define TRACEPARENT_HEADER "traceparent"

/* The names of spans, from which their ids are computed: of a run, of a job, of one attempt of a
 * job. */
#define SPAN_RUN "run"
#define SPAN_SUBMIT "submit"
#define SPAN_JOB "job"
#define SPAN_WAIT "wait"
#define SPAN_ATTEMPT "attempt"
#define SPAN_HAND_OUT "hand out"
#define SPAN_STAGE "stage"
#define SPAN_RESULT "result"

struct trace {
    char id[TRACE_ID_SIZE];
    char parent[TRACE_SPAN_SIZE]; /* the span that the next one belongs to; "": it is the first */
    bool is_sampled;              /* its spans are recorded */
};

/* Reads the value of a header `traceparent`; of a later version than 00 what 00 knows. False, and
 * nothing written, if it is NULL or malformed: then the caller ignores it. */
bool trace_parse(const char *text, struct trace *trace);

/* Writes a `traceparent` of version 00 that has `span` as the parent. */
void trace_format(const struct trace *trace, const char *span, char text[TRACEPARENT_SIZE]);

/* The trace of a run: that of the `traceparent` with which it was submitted; if that is "", one
 * that is computed from the run's id, and sampled. */
void trace_of_run(const char *run_id, const char *traceparent, struct trace *trace);

/* The id of a span of a run: `name` is what is done, `job` the job's id ("" if the span is of the
 * whole run), `attempt` its number (0: of the whole job). */
void trace_span_id(const char *run_id, const char *job, uint32_t attempt, const char *name,
                   char span[TRACE_SPAN_SIZE]);

#endif
