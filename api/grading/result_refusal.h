/*
 * result_refusal: what becomes of a result that can't be taken as it came: its body is no JSON, has
 * not the keys or the types that it must have, or is too large. Its job must not wait for its
 * deadline and be graded again: if the sender can be told (from the query or the path, or from the
 * beginning of the body) and was handed that very job, the job fails at once, with the refusal as
 * its reason. The sender is refused all the same; only in the course protocol a result that is too
 * large is answered 200, since its graders end at anything else and nothing is wrong with them.
 *
 * Whoever can't be told, or was never handed the job, is refused and fails nothing. Callers:
 * dispatch, the HTTP server, the handlers of results; from any thread.
 */
#ifndef API_GRADING_RESULT_REFUSAL_H
#define API_GRADING_RESULT_REFUSAL_H

#include "api/http/exchange.h"

struct api;

/* How much of a body that is too large is kept, to find whose it is. */
enum { RESULT_PREFIX_BYTES = 16 * 1024 };

/* Refuses: answers now or later. The exchange must not be touched afterwards. */
void result_refuse(struct api *api, struct exchange *exchange, enum bw_code code,
                   const struct bw_error *error);

/* May the body of this request, of which there are `length` bytes and which is over the `limit`, be
 * read all the same, but for its beginning thrown away, so that it can be found out whose it is?
 * Asked before the body, and again with each piece: a classic result only as long as its beginning,
 * which is the request's body, is not complete, or names a worker, or this replica handed the job
 * out. */
bool result_refusal_reads(struct api *api, const struct exchange *exchange, uint64_t length,
                          uint64_t limit);

#endif
