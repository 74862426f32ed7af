/*
 * exchange: one request and its answer, from its first header to its last byte.
 *
 * The HTTP server makes it, gathers the body, and gives it to dispatch on one of the server's
 * threads. Whoever handles it answers it exactly once, at once or later, from any thread: until
 * then the connection is suspended and costs no thread. After exchange_answer the exchange belongs
 * to the HTTP server again and must not be touched.
 */
#ifndef API_HTTP_EXCHANGE_H
#define API_HTTP_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/request_id.h"
#include "api/http/memory_budget.h"
#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/base/json.h"

struct exchange;
struct route;
struct answer_stream;
struct event_stream;

enum { ARGUMENT_MAX = 16, PATH_PARTS = 2, EXCHANGE_ADDRESS_SIZE = 64 };

/* How refusals are written: by the protocol of the path. Nobody knows whose an unknown path is. */
enum answer_form { FORM_CLASSIC, FORM_COURSE, FORM_BOTH };

/* What a request said. Valid until it is answered. */
struct request {
    const struct route *route;
    const char *method;  /* "GET" */
    const char *path_id; /* the {id} of the path, percent-decoded and free of NUL; "" if the route
                            has none */
    const char *parts[PATH_PARTS]; /* the names in a path of the course protocol, in order; "" */
    const char *query;             /* as it was sent, behind the "?"; "" if there is none */
    enum answer_form form;
    bool has_twin;    /* the other protocol has the same path and method: the body decides */
    const char *body; /* NUL-terminated as well, but may contain NUL; "" if none */
    size_t body_length;
    json_t *arguments;   /* object: checked against the route's fields; strings from query and form,
                            typed from JSON */
    const char *late_id; /* of a result that is too large: what it names behind its beginning:
                            api/grading/result_refusal.h; else NULL */
    struct json_mend_report *mended; /* of a result: what was mended in what came; own; else NULL */
    char address[EXCHANGE_ADDRESS_SIZE]; /* of the client, numeric */
    uint64_t number;                     /* unique in this process */
    const char *given_id;                /* its X-Request-Id, if that is sound; else NULL */
    const char *refusal;                 /* once it is refused: the sentence; else NULL */
    int64_t received_ms;                 /* clock_boot_ms when the first header was in */
};

/* Borrowed until the answer. */
const struct request *exchange_request(const struct exchange *exchange);

/* What its JSON may cost; valid until the answer. */
struct json_limits exchange_json_limits(struct exchange *exchange);

/* By what it is found in the logs. */
void request_id_of(const struct request *request, char id[REQUEST_ID_SIZE]);

/* A header of the request by name (case-insensitive), or NULL. Borrowed until the answer. */
const char *exchange_header(const struct exchange *exchange, const char *name);

/* The address that its connection came to, numeric; "" if that can't be told. */
void exchange_local_address(const struct exchange *exchange, char address[EXCHANGE_ADDRESS_SIZE]);

/* Has the client gone (closed or reset its socket)? A hint, cheap (one poll(2) with POLLRDHUP);
 * only before the answer, and only on an exchange that is suspended or being handled. */
bool exchange_is_gone(const struct exchange *exchange);

/* Asks that `gone` be called, once, from a thread of the HTTP server, when the client goes while
 * the exchange waits. It must not answer the exchange itself under a lock that it also holds in
 * exchange_answer; answering from it is allowed. */
void exchange_watch(struct exchange *exchange,
                    void (*gone)(struct exchange *exchange, void *context), void *context);

/* Answers. `body` is stolen (free()); NULL means an empty body. `type` is static or NULL for
 * application/json. */
void exchange_answer(struct exchange *exchange, int status, char *body, const char *type);

/* Answers 200 with a value, stolen. */
void exchange_answer_json(struct exchange *exchange, json_t *value);

/* Answers 200 in the course protocol's envelope: {"status": "success", "data": `data`}; stolen.
 * A long one is bounded as api/http/answer_stream.h says. */
void exchange_succeed(struct exchange *exchange, json_t *data);

/* The same; `data` is borrowed until it returns. */
void exchange_succeed_with(struct exchange *exchange, const json_t *data);

/* What stands around the data in that envelope. */
#define EXCHANGE_SUCCESS_BEFORE "{\"status\":\"success\",\"data\":"
#define EXCHANGE_SUCCESS_AFTER "}"

/* The answer, if it is no refusal, also tells what a grader may send: api/grading/grader_limits.h.
 * To be called before it. */
void exchange_tell_limits(struct exchange *exchange);

/* Answers with a stream of events (api/grading/event_streams.h), which is taken. */
void exchange_answer_stream(struct exchange *exchange, struct event_stream *stream);

/* Answers 200 with JSON that is sent while it is made (api/http/answer_stream.h, which calls this);
 * the stream is taken. */
void exchange_answer_long(struct exchange *exchange, struct answer_stream *stream);

/* Before a refusal with BW_TOO_MANY: what its Retry-After says. */
void exchange_retry_after(struct exchange *exchange, int seconds);

/* Answers a refusal in the form of the route's protocol; with Retry-After for BW_UNAVAILABLE and
 * BW_TOO_MANY, WWW-Authenticate for BW_UNAUTHORIZED. BW_NO_JOB: in the classic protocol an empty
 * body. `error` may be NULL: the code's own text. */
void exchange_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error);

/* The same, and in the classic protocol with one more text in the body. */
void exchange_refuse_with(struct exchange *exchange, enum bw_code code,
                          const struct bw_error *error, const char *name, const char *text);

/* From which pool a request's memory comes before its sender is known: by its route and what
 * dispatch_admit found. */
enum memory_pool exchange_memory_pool(const struct exchange *exchange);

#endif
