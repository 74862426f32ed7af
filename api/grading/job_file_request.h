/*
 * job_file_request: a grader's requests for the files of a job that it was given: it fetches those
 * of its hand-out, and stores those of its result. Only a worker that received the job may do
 * either, also after its attempt was ended, as results are judged (api/grading/job_claim.h).
 * Callers: the handlers of both protocols, with ROUTE_BLOCKING; waits for the database.
 */
#ifndef API_GRADING_JOB_FILE_REQUEST_H
#define API_GRADING_JOB_FILE_REQUEST_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/protocol_map.h"

struct api;
struct exchange;

struct job_file_request {
    const char *job, *worker; /* borrowed */
    enum protocol protocol;   /* the worker's */
};

/* Answers with the bytes of the file whose digest is `digest`. BW_OK: it is answered, now or later.
 * BW_BAD_REQUEST: there is no such job, the worker never had it, its hand-out has no such file, or
 * the file is gone; BW_UNAVAILABLE. */
enum bw_code job_file_send(struct api *api, struct exchange *exchange,
                           const struct job_file_request *request, const char *digest,
                           struct bw_error *error) BW_CHECKED;

/* Stores the body of a route with BODY_FILE; its arguments are those of file_transfer_receive. On
 * BW_OK *stored is new: {"digest", "size"}. The same codes. */
enum bw_code job_file_receive(struct api *api, struct exchange *exchange,
                              const struct job_file_request *request, json_t **stored,
                              struct bw_error *error) BW_CHECKED;

#endif
