/*
 * submission: a grader's result for a job, from the request to the promise. POST
 * /api/v1/grading_job/{id}, called by dispatch alone, see api/route.h. The handler does not wait:
 * what needs the database goes on in the executor and in the stores' threads.
 *
 * The order, and who has the submission meanwhile: the handler checks the arguments and makes it;
 * if this replica does not remember the hand-out, the executor asks the leases; then the logs'
 * store (if there are logs), then the results' store. Whoever has it answers the exchange and frees
 * it, once.
 */
#ifndef API_SUBMISSION_H
#define API_SUBMISSION_H

#include "api/route.h"

extern const struct json_field submission_fields[];

enum bw_code submission_handle(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
