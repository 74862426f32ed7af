/*
 * wire_protocol: the interface between a wire protocol and the HTTP server with dispatch. Each
 * protocol has one `struct wire_protocol` in its folder (e.g. api/classic/protocol.c);
 * api/protocols.c has the table of them. "NULL: ..." at a member says what a protocol without it
 * does.
 *
 * The functions are called by the HTTP server and dispatch, on the HTTP server's threads, where
 * they must not wait, unless their comment says otherwise.
 */
#ifndef API_HTTP_WIRE_PROTOCOL_H
#define API_HTTP_WIRE_PROTOCOL_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/route.h"
#include "common/base/error.h"
#include "common/domain/job.h"

struct exchange;
struct memory_hold;
struct definition;  /* common/domain/run_definition.h */
struct result_form; /* api/grading/result_refusal.h */

enum { UPGRADE_ACCEPT_SIZE = 32 };

/* A connection that has been upgraded to a websocket. */
struct upgraded {
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
    const char *extra; /* bytes that were read before the upgrade; borrowed */
    size_t extra_length;
};

/* A job that is handed out. */
struct job_hand_out {
    struct job_id id;
    uint32_t attempt;
    bool is_socket;              /* the grader has a websocket */
    const json_t *files;         /* borrowed: its list of files; NULL: it has none */
    const char *traceparent;     /* borrowed; "": none */
    const json_t *image_digests; /* borrowed: its pins; NULL: none are known, or wanted */
};

struct wire_protocol {
    const struct route *routes; /* ends with a row whose method is NULL */
    const char *json_type;      /* the Content-Type of its answers; NULL: application/json */
    /* Its paths answer OPTIONS, and its answers have Access-Control-Allow-Origin. */
    bool is_for_browsers;
    /* Its graders send their id in the query or the body, not in the path, so it is known only
     * after the arguments are read. */
    bool has_workers_in_arguments;

    /* ---- Which protocol does a request belong to? ---- */

    /* Whether a path that matches one of its patterns is nevertheless not of this protocol, by the
     * parts in braces. NULL: false. */
    bool (*disowns)(const char *const parts[PATH_PARTS]);
    /* For a path and method that an earlier protocol in the table serves, too: whether the request
     * is of this protocol, by its headers and the parts in braces. NULL: false. */
    bool (*claims)(struct api *api, const struct exchange *exchange,
                   const char *const parts[PATH_PARTS]);
    /* The same, by the body. BW_OK: the request is not of this protocol. Any other code: it is,
     * and is refused with this code, since its headers lack what this protocol requires. NULL:
     * BW_OK. */
    enum bw_code (*claims_body)(struct exchange *exchange, struct bw_error *error);

    /* ---- Who is the sender? ---- */

    /* Whether the request may go on, by its headers alone. Fills exchange->sender. NULL: BW_OK. */
    enum bw_code (*admit)(struct api *api, struct exchange *exchange, struct bw_error *error);
    /* Whether the sender is a worker in the worker cache, by the path, the query or the received
     * part of the body, of which the first `searched` bytes were searched before. Writes
     * exchange->worker. NULL: false. */
    bool (*knows_worker)(struct exchange *exchange, size_t searched);
    /* The sender of a result whose body is arriving, or NULL if it is not known yet. Required if
     * the protocol has routes with ROUTE_HEARTBEAT. */
    const char *(*result_sender)(const struct exchange *exchange);
    /* Whether the part proves that this sender is alive. A job's id is not secret. NULL: true. */
    bool (*is_sender_seen)(struct api *api, const struct exchange *exchange);
    /* Searches the query, or the next piece of a long result's body before it is stored, for the
     * sender (`piece` NULL: the body has not begun). Writes exchange->worker. BW_NOT_FOUND: not
     * found yet; BW_OK: a worker in the worker cache; BW_PENDING: find_sender must be called;
     * BW_UNAVAILABLE: it can't be looked up now. NULL: the sender is not searched. */
    enum bw_code (*seek_sender)(struct api *api, struct exchange *exchange, const char *piece,
                                size_t length);
    /* Looks up exchange->worker in the database, on another thread; then calls
     * dispatch_sender_found, once. */
    void (*find_sender)(struct api *api, struct exchange *exchange);
    /* BW_BAD_REQUEST with the sentence for an unknown worker. */
    enum bw_code (*refuse_sender)(const struct exchange *exchange, struct bw_error *error);
    /* Checks the sender, as far as possible without waiting. BW_OK: it may use the route.
     * BW_PENDING: find_worker must be called. Any other code is the refusal. NULL: BW_OK. */
    enum bw_code (*check)(struct api *api, struct exchange *exchange, struct bw_error *error);
    /* Looks up the worker in the database, on another thread; then calls dispatch_worker_found,
     * once. */
    void (*find_worker)(struct api *api, struct exchange *exchange);

    /* ---- Answers ---- */

    /* Called before routes with ROUTE_CURRENT, on the thread pool: waits for operations of
     * websockets. NULL: nothing. */
    void (*drain)(struct api *api);
    /* Adds the members of a refusal to the empty object `body`. If it stays empty, the answer has
     * an empty body. `is_own` false: the path is of no protocol or of several, and the forms of all
     * are merged. `sentence` is borrowed. Returns whether the request's id is added. NULL:
     * {"error": sentence}, and nothing for BW_NO_JOB. */
    bool (*refuse)(json_t *body, enum bw_code code, json_t *sentence, bool is_own);
    /* How a result that can't be accepted is refused. NULL: the protocol has no routes with
     * ROUTE_HEARTBEAT. */
    const struct result_form *results;

    /* ---- Jobs for graders ---- */

    /* Makes the text of a job; *payload is new, free(). Called by hand_outs, on the thread pool. */
    enum bw_code (*make_job)(const struct definition *definition, const struct job_hand_out *job,
                             char **payload, struct bw_error *error);
    /* Sends it to a grader with a websocket. `payload` is stolen; NULL: the job was returned in the
     * grader's name, which waits for the next one; `hold`, which counts it, is
     * taken. NULL: the protocol has no websockets. */
    void (*push_job)(struct api *api, uint64_t socket, const char *job, char *payload,
                     struct memory_hold *hold);

    /* A worker with a websocket may hold a job no longer, as the scheduler says: for graders that
     * asked to be told. Called by callback_handler, must not wait. NULL: the protocol has no
     * websockets. */
    void (*check_job)(struct api *api, const char *worker, const char *job);

    /* ---- At startup, on main's thread; may wait ---- */

    enum bw_code (*open_sockets)(struct api *api, struct bw_error *error); /* api->sockets */
    enum bw_code (*open_streams)(struct api *api, struct bw_error *error); /* api->streams */

    /* ---- Websockets: routes with AUTH_SOCKET ---- */

    /* Checks the handshake and its sender, and writes `accept`, the value of Sec-WebSocket-Accept.
     * BW_OK: the connection is upgraded; if exchange->socket_refusal is set, the websocket is
     * closed at once with this reason. */
    enum bw_code (*upgrade)(struct api *api, struct exchange *exchange, const char *http_version,
                            char accept[UPGRADE_ACCEPT_SIZE], struct bw_error *error);
    /* Takes the connection, after the answer is sent. */
    void (*take_upgraded)(struct api *api, struct exchange *exchange,
                          const struct upgraded *upgraded);
};

/* Bytes of a too large result's body that are stored, in order to find its sender. */
enum { RESULT_PREFIX_BYTES = 16 * 1024 };

/* Hooks for results of all protocols (api/grading/result_refusal.h), and for notifying the
 * scheduler. A server without routes with ROUTE_HEARTBEAT or ROUTE_URGENT needs none. */
struct http_hooks {
    /* A worker was seen, by a heartbeat or by a result. */
    void (*seen)(struct api *api, const char *worker, bool is_result);
    /* For an answer that is no refusal, or is one after exchange_carried_out, of any route, before
     * it is sent: whether the request must be recorded first. True: exchange_release sends the
     * answer. Must not wait. NULL: nothing is recorded. audit_record. */
    bool (*record)(struct api *api, struct exchange *exchange);
    /* Refuses a result: result_refuse. */
    void (*refuse_result)(struct api *api, struct exchange *exchange, enum bw_code code,
                          const struct bw_error *error);
    /* Whether a body is so far over the limit that only its beginning is awaited:
     * result_refusal_is_beyond. */
    bool (*is_result_beyond)(uint64_t length, uint64_t limit);
    /* Whether a body that is too large is read on: result_refusal_reads. */
    bool (*reads_result)(struct api *api, const struct exchange *exchange, uint64_t length,
                         uint64_t limit);
    /* Searches the next piece of such a body: result_refusal_seek. */
    void (*seek_result)(struct exchange *exchange, const char *piece, size_t length);
};

#endif
