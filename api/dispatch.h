/*
 * dispatch: what happens to every request between the front and its handler: credentials,
 * arguments, the thread it runs on, and the refusal when something is wrong. Callers: the front, on
 * the server's threads, which never wait here.
 */
#ifndef API_DISPATCH_H
#define API_DISPATCH_H

#include "api/exchange_internal.h"
#include "api/route.h"

/* Before the body is read: may this caller, by its headers alone, use the route? BW_OK, or the
 * refusal. */
enum bw_code dispatch_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
    BW_CHECKED;

/* The request is complete: it is answered, now or later. */
void dispatch_request(struct exchange *exchange);

/* Part of a request's body has arrived: of a result, that is a sign of life of whoever sends it.
 * Cheap enough for every part. */
void dispatch_progress(struct exchange *exchange);

#endif
