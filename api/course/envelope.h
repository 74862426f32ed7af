/*
 * course_envelope: the envelope of the course protocol's answers: {"status": "success", "data":
 * ...}, or a refusal. Callers: the handlers of api/course and their callbacks, from any thread. No
 * state.
 */
#ifndef API_COURSE_ENVELOPE_H
#define API_COURSE_ENVELOPE_H

#include <jansson.h>

#include "api/http/exchange.h"

/* Answers 200 with `data`, which is stolen. A long answer is limited as in
 * api/http/answer_stream.h. */
void course_succeed(struct exchange *exchange, json_t *data);

/* The same for data that is JSON text already; borrowed. */
void course_succeed_with_text(struct exchange *exchange, const char *data);

/* The text before and after the data. */
#define COURSE_SUCCESS_BEFORE "{\"status\":\"success\",\"data\":"
#define COURSE_SUCCESS_AFTER "}"

/* Fills the body of a refusal: see `refuse` in struct wire_protocol. Status "fail": the caller's
 * mistake; "error": a failure of the server, or a request that no protocol serves. */
bool course_envelope_refuse(json_t *body, enum bw_code code, json_t *sentence, bool is_own);

#endif
