#include "api/course/stream_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/exchange.h"
#include "api/api.h"
#include "api/course/client.h"
#include "api/course/status.h"
#include "api/grading/event_streams.h"
#include "api/http/thread_pool.h"
#include "api/http/form.h"
#include "api/grading/inflight.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/store/result_store.h"

static const char finished[] = "FINISHED", failed[] = "FAILED";

static enum bw_code course_stream_take_argument(const char *name, const char *value, void *context,
                                                struct bw_error *error)
{
    (void)error;
    bool *wants_snapshot = context;
    if (strcmp(name, "snapshot") == 0 && strcmp(value, "1") == 0)
        *wants_snapshot = true;
    return BW_OK;
}

/* ?snapshot=1, wherever it stands in the query. */
static bool wants_snapshot(const struct request *request)
{
    bool is_wanted = false;
    struct bw_error unused;
    struct json_mend_report ignored = {
        {0}}; /* other arguments mean nothing here, so they may be broken */
    enum bw_code code = form_read_urlencoded(request->query, strlen(request->query), "the query",
                                             course_stream_take_argument, &is_wanted, &ignored,
                                             &unused);
    return code == BW_OK && is_wanted;
}

static void take_outcome(const struct result *result, void *context)
{
    *(enum job_outcome *)context = result->outcome;
}

/* How the job ended; *state NULL: it has not, as far as its run goes on. */
static enum bw_code read_end(struct api *api, const char *job, bool is_run_over, const char **state,
                             struct bw_error *error)
{
    char jobs[1][JOB_ID_SIZE];
    enum job_outcome outcome = OUTCOME_NONE;
    snprintf(jobs[0], sizeof jobs[0], "%s", job);
    enum bw_code code = result_store_read(api->result_store, (const char(*)[JOB_ID_SIZE])jobs, 1,
                                          false, take_outcome, &outcome, error);
    *state = NULL;
    if (outcome != OUTCOME_NONE || is_run_over)
        *state = outcome == OUTCOME_SUCCEEDED ? finished : failed;
    return code;
}

static enum bw_code course_stream_begin(struct api *api, struct exchange *exchange,
                                        const char *subject, const char *last,
                                        struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct event_stream *stream = event_stream_new(api->streams, request->parts[0], subject,
                                                   wants_snapshot(request));
    if (stream == NULL)
        return bw_fail(error, BW_TOO_MANY,
                       "too many event streams are open here: close some, or try again");
    event_stream_begin(stream, last);
    event_stream_answer(stream, exchange);
    return BW_OK;
}

enum bw_code course_stream_job(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    uint32_t slot;
    const char *last;
    enum bw_code code = course_find_job(api, request->parts[0], request->parts[1], &run, &slot,
                                        error);
    if (code != BW_OK)
        return code;
    code = read_end(api, request->parts[1], run_phase_is_over(run.phase), &last, error);
    run_clear(&run);
    return code == BW_OK ? course_stream_begin(api, exchange, request->parts[1], last, error)
                         : code;
}

enum bw_code course_stream_run(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    bool is_over = run_phase_is_over(run.phase);
    run_clear(&run);
    return course_stream_begin(api, exchange, request->parts[1],
                               is_over ? course_run_state(run.phase) : NULL, error);
}

/* ---- A watch whose run the scheduler has no longer ---- */

struct ending {
    struct api *api;
    char subject[JOB_ID_SIZE];
    int64_t number;
};

static void course_stream_send_end(void *context)
{
    struct ending *ending = context;
    struct api *api = ending->api;
    struct bw_error unused;
    const char *state = failed;
    struct run run;
    char id[RUN_ID_SIZE];
    snprintf(id, sizeof id, "%.24s", ending->subject);
    if (run_store_read(api->run_store, id, &run, &unused) == BW_OK) {
        state = course_run_state(run.phase);
        run_clear(&run);
    }
    if (strlen(ending->subject) == JOB_ID_LENGTH &&
        read_end(api, ending->subject, true, &state, &unused) != BW_OK)
        state = failed;
    event_streams_finish(api->streams, ending->number, state);
    free(ending);
    inflight_end(api);
}

static void course_stream_drop_end(void *context)
{
    struct ending *ending = context;
    event_streams_end(ending->api->streams, ending->number); /* the client comes again */
    inflight_end(ending->api);
    free(ending);
}

/* Not urgent: when a crowd's runs end there are thousands, and each reads from the database. */
static void over(const char *subject, int64_t number, void *context)
{
    struct ending *ending = bw_alloc(sizeof *ending);
    ending->api = context;
    inflight_begin(ending->api);
    ending->number = number;
    snprintf(ending->subject, sizeof ending->subject, "%s", subject);
    thread_pool_submit_or_wait(ending->api->thread_pool, course_stream_send_end,
                               course_stream_drop_end, ending);
}

enum bw_code course_stream_open(struct api *api, struct bw_error *error)
{
    const struct event_streams_settings settings = {
        .signals = api->signals,
        .most_connections = (size_t)api->options->max_connections,
        .over = over,
        .run_state = course_run_state,
        .context = api};
    return event_streams_open(&settings, &api->streams, error);
}
