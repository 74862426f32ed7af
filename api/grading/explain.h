/*
 * explain: answers why a job, a run or a grader waits. What the database alone says (a run is not
 * started, or over) is answered at once; otherwise the leading scheduler is asked, whose answer
 * (scheduler/rules/explain.h) is passed on. Without an answer of a leader the state is unknown, and
 * the reason is no_leader or database_unavailable. Callers: handlers of all protocols that may wait
 * for the database (ROUTE_BLOCKING).
 */
#ifndef API_GRADING_EXPLAIN_H
#define API_GRADING_EXPLAIN_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* How an answer is sent. */
struct explain_request {
    struct exchange *exchange;
    /* The course whose token asks: it is shown no names of other courses and of reservations; NULL:
     * all names are shown. Borrowed during the call. */
    const char *course;
    void (*answer)(struct exchange *exchange, json_t *value); /* steals `value` */
};

/* Refuses a request whose run could not be read; while the database is unavailable with the reason
 * in the body. Returns the code for the handler. */
enum bw_code explain_refuse(struct exchange *exchange, enum bw_code code,
                            const struct bw_error *error);

/* Answers for a run, or for its job at `slot`. `run` is consumed. */
enum bw_code explain_run(struct api *api, const struct explain_request *request, struct run *run);
enum bw_code explain_job(struct api *api, const struct explain_request *request, struct run *run,
                         uint32_t slot);

/* Answers for a grader by its id; an unknown one is BW_BAD_REQUEST. */
enum bw_code explain_worker(struct api *api, const struct explain_request *request,
                            const char *worker);

#endif
