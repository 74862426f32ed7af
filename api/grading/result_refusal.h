/*
 * result_refusal: what becomes of a result that can't be taken as it came: its body is no JSON, has
 * not the keys or the types that it must have, is compressed, or is too large. Its job must not
 * wait for its deadline and be graded again: if the sender can be told (from the query or the path,
 * or from the body, as much of it as is read) and was handed that very job, the job fails at once,
 * with the refusal as its reason. The sender is refused all the same; only in the course protocol a
 * result that is too large is answered 200, since its graders end at anything else and nothing is
 * wrong with them.
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

/* Is a result of `length` bytes so much over the limit of a body that only its beginning is waited
 * for? */
bool result_refusal_is_beyond(uint64_t length, uint64_t limit);

/* May the body of this request, of which there are or will be `length` bytes and which is over the
 * `limit`, be read on, but for its beginning thrown away, so that it can be found out whose it is?
 * Asked before the body, and again with each piece. The beginning, which is the request's body, is
 * always read, unless the query names the worker. More is read of up to four times the limit alone;
 * and of a classic result only if its beginning names a worker, or this replica handed the job out.
 */
bool result_refusal_reads(struct api *api, const struct exchange *exchange, uint64_t length,
                          uint64_t limit);

/* The next piece of such a body, from its first byte on: what it names behind its beginning becomes
 * the request's late_id. BW_INTERNAL: memory is short. */
enum bw_code result_refusal_seek(struct exchange *exchange, const char *piece, size_t length,
                                 struct bw_error *error) BW_CHECKED;

#endif
