/*
 * exchange: one request and its answer, from its first header to its last byte.
 *
 * The HTTP server creates it, receives the body, and gives it to dispatch on one of its threads.
 * The exchange is answered exactly once, at once or later, from any thread; until then the
 * connection is suspended and costs no thread. After exchange_answer the exchange belongs to the
 * HTTP server again and must not be touched.
 */
#ifndef API_HTTP_EXCHANGE_H
#define API_HTTP_EXCHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/memory_budget.h"
#include "api/http/route.h"
#include "api/http/spool.h"
#include "common/base/request_id.h"
#include "common/domain/trace.h"
#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/base/json.h"
#include "common/base/secret.h"

struct exchange;
struct wire_protocol;
struct MHD_Connection;
struct MHD_Response;

enum { ARGUMENT_MAX = 16, EXCHANGE_ADDRESS_SIZE = 64 };

/* The request. Valid until the answer. */
struct request {
    const struct route *route;
    const char *method;            /* "GET" */
    const char *path_id;           /* the {id} of the path, decoded, without NUL; "": none */
    const char *parts[PATH_PARTS]; /* the path's parts in place of the pattern's braces, in order;
                                      "": none */
    const char *query;             /* as it was sent, after the "?"; "": none */
    const struct wire_protocol *
        protocol; /* of the answer; the first one until the path is known; NULL: none, or several */
    const struct wire_protocol *twin; /* another protocol with the same path and method, if the body
                                         has to decide; else NULL */
    const char *body;                 /* NUL-terminated, but may contain NUL; "": none */
    size_t body_length;
    json_t *arguments;   /* an object that fits the route's fields */
    const char *late_id; /* for a result that is too large: the id that it names after its beginning
                            (api/grading/result_refusal.h); else NULL */
    struct json_mend_report *mended;     /* own: for a result: its repairs; else NULL */
    char address[EXCHANGE_ADDRESS_SIZE]; /* the client's, numeric */
    uint64_t number;                     /* unique in this process */
    const char *given_id;         /* the client's X-Request-Id, if that is valid; else NULL */
    char trace_id[TRACE_ID_SIZE]; /* of its traceparent, if that is valid; else "" */
    const char *refusal;          /* the sentence of the refusal; NULL: not refused */
    int64_t received_ms;          /* clock_boot_ms of the first line's arrival */
};

/* The received body, of a route with BODY_FILE; valid until the answer. */
const struct received_file *exchange_received_file(struct exchange *exchange);

/* Borrowed until the answer. */
const struct request *exchange_request(const struct exchange *exchange);

/* The limits of its JSON, which count in its memory; valid until the answer. */
struct json_limits exchange_json_limits(struct exchange *exchange);

/* Writes the request's id, which is in the logs: the client's, or the server's own. */
void request_id_of(const struct request *request, char id[REQUEST_ID_SIZE]);

/* A header of the request by name (case-insensitive), or NULL. Borrowed until the answer. */
const char *exchange_header(const struct exchange *exchange, const char *name);

/* Writes the local address of its connection, numeric; "": unknown. */
void exchange_local_address(const struct exchange *exchange, char address[EXCHANGE_ADDRESS_SIZE]);

/* Which token of a client the request has, as far as it was checked. */
enum sender_token {
    TOKEN_NONE,
    TOKEN_OF_CLIENT, /* the client token */
    TOKEN_OF_COURSE, /* one of a course */
    TOKEN_OF_CLUSTER /* the cluster token, shown by an operator */
};
enum sender_token exchange_token(const struct exchange *exchange);

/* The name of that token, "": none. Borrowed until the answer. */
const char *exchange_token_name(const struct exchange *exchange);

/* Notes that what the request asks for is stored, so that it is recorded whatever its answer. By
 * the handler, before the answer. */
void exchange_carried_out(struct exchange *exchange);

/* For http_hooks.record: the request's entry is stored, so its answer is sent; or it could not be
 * stored: the request is refused with BW_UNAVAILABLE. The exchange must not be touched
 * afterwards. */
void exchange_release(struct exchange *exchange, bool is_stored);

/* Whether the client has closed or reset its connection. Only a hint; cheap (one poll(2) with
 * POLLRDHUP). Only before the answer, while the exchange is suspended or being handled. */
bool exchange_is_gone(const struct exchange *exchange);

/* Requests that `gone` is called once, from a thread of the HTTP server, when the client
 * disconnects while the exchange waits. `gone` may answer the exchange, but not while it holds a
 * lock that is also held during exchange_answer. */
void exchange_watch(struct exchange *exchange,
                    void (*gone)(struct exchange *exchange, void *context), void *context);

/* Answers the exchange. `body` is stolen (free()); NULL: an empty body. `type` is static; NULL: the
 * protocol's JSON type. */
void exchange_answer(struct exchange *exchange, int status, char *body, const char *type);

/* Answers 200 with `length` bytes of any kind, stolen (free()). `type` is static. */
void exchange_answer_bytes(struct exchange *exchange, char *bytes, size_t length, const char *type);

/* Answers 200. `body` is stolen. `hold` is taken, and released when the client has the answer, or
 * has disconnected. */
void exchange_answer_held(struct exchange *exchange, char *body, struct memory_hold *hold);

/* Answers 200 with a JSON value, which is stolen. */
void exchange_answer_json(struct exchange *exchange, json_t *value);

/* Adds a header to the answer, unless that is a refusal; at most EXCHANGE_HEADERS. `name` is
 * static; of `value` at most EXCHANGE_HEADER_SIZE - 1 bytes are copied. Called before the
 * answer. */
enum { EXCHANGE_HEADERS = 12, EXCHANGE_HEADER_SIZE = 80 };
void exchange_add_header(struct exchange *exchange, const char *name, const char *value);

/* An answer that is made while it is sent: an event stream (api/grading/event_streams.h), or a long
 * answer (api/http/answer_stream.h). */
struct exchange_stream {
    void *stream;
    /* Makes the response for the connection, whose socket is `fd`; takes the stream. NULL: out of
     * memory, and the stream is dropped. */
    struct MHD_Response *(*response)(void *stream, struct MHD_Connection *connection, int fd);
    void (*drop)(void *stream); /* frees a stream that is not sent */
    /* The client of a suspended stream has disconnected; called from a thread of the HTTP server.
     * The stream may be freed already, so it is named by its number. NULL: the stream is never
     * suspended for long. */
    void (*gone)(void *context, int64_t number);
    void *context;
    int64_t number;
    bool is_json; /* false: the response has a Content-Type of its own, and closes the connection */
    const char *type; /* static; with is_json: the Content-Type; NULL: the protocol's JSON type */
};

/* Answers 200 with a stream. `stream` is copied; its member `stream` is taken. */
void exchange_answer_stream(struct exchange *exchange, const struct exchange_stream *stream);

/* The memory pool of the request, by its headers: MEMORY_CLIENT if they have a client's token. */
enum memory_pool exchange_memory_pool(const struct exchange *exchange);

/* Sets the Retry-After of a refusal with BW_TOO_MANY. Called before the refusal. */
void exchange_retry_after(struct exchange *exchange, int seconds);

/* Answers with a refusal in the form of the path's protocol; with Retry-After for BW_UNAVAILABLE
 * and BW_TOO_MANY, WWW-Authenticate for BW_UNAUTHORIZED. `error` (copied) may be NULL: the code's
 * own text is used. */
void exchange_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error);

/* The same with one more member in the body. */
void exchange_refuse_with(struct exchange *exchange, enum bw_code code,
                          const struct bw_error *error, const char *name, const char *text);

#endif
