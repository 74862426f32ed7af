/*
 * result_refusal: refuses results that can't be accepted: the body is not JSON, lacks keys or has
 * wrong types, is compressed, or is too large. Such a job must not wait for its deadline and be
 * graded again. If the sender is found (in the query, the path, or the part of the body that is
 * read) and was handed that job, the job fails at once, with the refusal as its reason. The sender
 * still gets a refusal, unless its protocol answers a result that is too large with success.
 *
 * A result of an unknown sender, or of a sender that never received the job, is refused and fails
 * no job. Callers: dispatch and the HTTP server (by struct http_hooks), the handlers of results;
 * from any thread. No function waits.
 */
#ifndef API_GRADING_RESULT_REFUSAL_H
#define API_GRADING_RESULT_REFUSAL_H

#include "api/http/exchange.h"
#include "api/http/wire_protocol.h"

struct api;

/* How a protocol's results name their sender and job. */
struct result_form {
    const char *key; /* the key of an id that is searched in the part of a too large body that is
                        not kept */
    /* Finds the worker and the job in the request, whose body may be incomplete. False: one of them
     * is not found. */
    bool (*find)(const struct exchange *exchange, char worker[WORKER_ID_SIZE],
                 char job[JOB_ID_SIZE]);
    /* Whether the query or the body names a worker. NULL: the path names it, and the request's
     * token has authenticated it. */
    bool (*names_worker)(const struct exchange *exchange);
    /* Answers a result that was too large, once its job's failure is stored. NULL: the result is
     * refused. */
    void (*accept_large)(struct exchange *exchange);
};

/* Refuses a result with `code` and `error` (copied): answers now or later. The exchange must not be
 * touched afterwards. */
void result_refuse(struct api *api, struct exchange *exchange, enum bw_code code,
                   const struct bw_error *error);

/* Whether a result of `length` bytes is so far over `limit` (bytes) that only its beginning is
 * read. */
bool result_refusal_is_beyond(uint64_t length, uint64_t limit);

/* Whether to go on reading the body of a result over the `limit` in order to find its sender; all
 * but the beginning is discarded. `length`: the body's bytes, as declared or as received so far.
 * Asked before the body, and again with each piece. The beginning, which becomes the request's
 * body, is always read, unless the query names the worker. More is read only of a body up to four
 * times the limit; and of a classic result, only if its beginning names a worker, or this replica
 * has handed out the job. */
bool result_refusal_reads(struct api *api, const struct exchange *exchange, uint64_t length,
                          uint64_t limit);

/* Searches the next piece of such a body, from its first byte on. An id that is found after the
 * beginning becomes the request's late_id. */
void result_refusal_seek(struct exchange *exchange, const char *piece, size_t length);

#endif
