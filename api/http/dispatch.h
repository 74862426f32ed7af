/*
 * dispatch: processes every request between the HTTP server and its handler: credentials,
 * arguments, the thread it runs on, and its refusal. Callers: the HTTP server, on its threads,
 * which never wait here; wire protocols where a function says so.
 */
#ifndef API_HTTP_DISPATCH_H
#define API_HTTP_DISPATCH_H

#include "api/http/exchange_internal.h"
#include "api/http/route.h"

/* Before the body is read: whether this caller may use the route, by its headers alone. BW_OK, or
 * the refusal. */
enum bw_code dispatch_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
    BW_CHECKED;

/* Checks whether the sender is a worker in the worker cache, by the path, the query or the received
 * part of the body; if so, the request's memory is counted in the workers' pool. Called for every
 * part of a body: cheap, never waits. */
void dispatch_identify(struct exchange *exchange);

/* For the next piece of a result's body, before it is stored (NULL: the body has not begun):
 * whether the body is longer than 64 KiB, and the query or the JSON in its first 64 KiB names a
 * worker that is not in the worker cache. True once; then the caller calls dispatch_find_sender.
 * Never waits. */
bool dispatch_names_stranger(struct exchange *exchange, const char *piece, size_t length)
    BW_CHECKED;

/* Looks up that worker in the database. The exchange, which must be HANDLED, becomes SENDER_FOUND,
 * now or later; then dispatch_take_sender returns the outcome. BW_OK: the rest of the body may be
 * read, as a worker's if the worker was found (the database may be unavailable). BW_BAD_REQUEST:
 * there is no such worker. */
void dispatch_find_sender(struct exchange *exchange);
enum bw_code dispatch_take_sender(struct exchange *exchange, struct bw_error *error) BW_CHECKED;

/* For a request that is refused since there is no room: if its sender is a known worker, the
 * scheduler is notified that the worker is alive. */
void dispatch_note_refusal(struct exchange *exchange, enum bw_code code);

/* Refuses a request, now or later. If the request is a result, its job may fail:
 * api/grading/result_refusal.h. The request may have no route, or be refused by its headers. */
void dispatch_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error);

/* For wire_protocol.find_worker: the outcome of the look-up. BW_OK: registered. BW_UNAVAILABLE: the
 * database can't be reached; the worker is accepted, since most graders exit when they are refused.
 * Any other code is the refusal. `may_wait`: this thread may wait. */
void dispatch_worker_found(struct exchange *exchange, enum bw_code code,
                           const struct bw_error *error, bool may_wait);

/* For wire_protocol.find_sender: the outcome of the look-up: BW_OK; BW_BAD_REQUEST: there is no
 * such worker; BW_UNAVAILABLE. */
void dispatch_sender_found(struct exchange *exchange, enum bw_code code);

/* For wire_protocol.find_worker: calls function(exchange) on the thread pool, or refuses the
 * request. */
void dispatch_run(struct exchange *exchange, void (*function)(void *exchange));

/* Handles a complete request. It is answered, now or later. */
void dispatch_request(struct exchange *exchange);

/* A part of a request's body has arrived. If it is a result, and its protocol names the sender
 * (result_sender, is_sender_seen in struct wire_protocol), the scheduler is notified that the
 * sender is alive. Called for every part: cheap, never waits. */
void dispatch_progress(struct exchange *exchange);

#endif
