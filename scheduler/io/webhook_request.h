/*
 * webhook_request: one HTTP request to a webhook, as libcurl carries it out: http or https alone,
 * no redirects, no proxy, limits of time and of what is read, and no connection to an address that
 * is not allowed (common/domain/webhook_address.h), which is decided after the name is resolved and
 * before the connection is made. For the thread that performs it.
 */
#ifndef SCHEDULER_IO_WEBHOOK_REQUEST_H
#define SCHEDULER_IO_WEBHOOK_REQUEST_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/domain/webhook.h"
#include "common/domain/webhook_address.h"
#include "common/store/webhook_delivery_store.h"

struct webhook_request;

/* A request for a delivery of the webhook at that date (UTC ms). `allowed` is borrowed; everything
 * else is copied. Never NULL. */
struct webhook_request *webhook_request_new(const struct webhook *webhook,
                                            const struct webhook_delivery *delivery,
                                            int64_t date_ms,
                                            const struct webhook_allow_list *allowed);
/* It must not be a part of a multi handle any more. NULL is allowed. */
void webhook_request_free(struct webhook_request *request);

/* The handle, to be performed; owned by the request. `context` is its CURLOPT_PRIVATE. */
CURL *webhook_request_handle(struct webhook_request *request, void *context);

/* Once performed, with that outcome: true if it was answered with 2xx. *status is that of the
 * answer (0: none), `text` a sentence about what went wrong ("": nothing). */
bool webhook_request_result(const struct webhook_request *request, CURLcode code, int64_t *status,
                            char text[WEBHOOK_ERROR_SIZE]);

#endif
