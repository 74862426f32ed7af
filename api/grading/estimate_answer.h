/*
 * estimate_answer: when a job, a run or all jobs of a course that wait will be done. The scheduler
 * answers (scheduler/rules/estimate.h); without a leader it is 503. Callers: handlers of all
 * protocols, once they have found the run or the job.
 */
#ifndef API_GRADING_ESTIMATE_ANSWER_H
#define API_GRADING_ESTIMATE_ANSWER_H

#include "api/http/exchange.h"
#include "common/store/signal_store.h"

struct api;

/* Asks the scheduler about `subject`: QUERY_ESTIMATE about a job or a run, QUERY_ESTIMATE_COURSE
 * about a course. Returns BW_PENDING: `answer` answers the exchange later; `data` is stolen. */
enum bw_code estimate_answer_ask(struct api *api, struct exchange *exchange, enum query_kind kind,
                                 const char *subject,
                                 void (*answer)(struct exchange *exchange, json_t *data));

#endif
