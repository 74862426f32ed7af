/*
 * webhook_body: what is sent of an event: the body in the form that the receiver wants, and its
 * signature. Described in docs/webhooks.md. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_WEBHOOK_BODY_H
#define COMMON_DOMAIN_WEBHOOK_BODY_H

#include <stdint.h>

#include "common/base/secret.h"
#include "common/domain/webhook.h"

/* The body for an event's payload (JSON text): the payload itself, or a sentence as Slack or
 * Discord take it. The same payload always has the same body. New string, free(). */
char *webhook_body(const char *payload, enum webhook_format format);

/* "t=<seconds>,v1=<hex>" with the HMAC-SHA-256 over "<seconds>.<event id>.<body>". */
enum { WEBHOOK_SIGNATURE_SIZE = SHA256_TEXT_SIZE + 32 };
void webhook_sign(const char *secret, int64_t seconds, const char *event_id, const char *body,
                  char signature[WEBHOOK_SIGNATURE_SIZE]);

#endif
