/*
 * dispatch: what happens to every request between the HTTP server and its handler: credentials,
 * arguments, the thread it runs on, and the refusal when something is wrong. Callers: the HTTP
 * server, on the server's threads, which never wait here.
 */
#ifndef API_HTTP_DISPATCH_H
#define API_HTTP_DISPATCH_H

#include "api/http/exchange_internal.h"
#include "api/http/route.h"

/* Before the body is read: may this caller, by its headers alone, use the route? BW_OK, or the
 * refusal. */
enum bw_code dispatch_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
    BW_CHECKED;

/* Is the sender a registered worker, by the path, the query or the first part of the body that has
 * come? Then its memory is a worker's. Cheap enough for every part; never waits: only workers that
 * this replica remembers are known. */
void dispatch_identify(struct exchange *exchange);

/* A request is refused for want of room: if its sender is a registered worker, it lives all the
 * same, and the scheduler is told so. */
void dispatch_note_refusal(struct exchange *exchange, enum bw_code code);

/* Refuses, now or later. A result that can't be taken has consequences for its job:
 * api/grading/result_refusal.h. The request may lack its route, or be refused by its headers. */
void dispatch_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error);

/* The request is complete: it is answered, now or later. */
void dispatch_request(struct exchange *exchange);

/* Part of a request's body has arrived: of a result, that is a sign of life of the worker that
 * sends it, once dispatch_identify knows it, if it was handed the job here. Cheap enough for every
 * part. */
void dispatch_progress(struct exchange *exchange);

#endif
