/*
 * running_digest: SHA-256 over bytes that arrive piece by piece, as `sha256sum` computes it. One
 * thread at a time.
 */
#ifndef COMMON_BASE_RUNNING_DIGEST_H
#define COMMON_BASE_RUNNING_DIGEST_H

#include <stddef.h>

#include "common/base/secret.h"

struct running_digest;

/* A digest of no bytes yet. Never NULL. */
struct running_digest *running_digest_new(void);

/* Adds bytes. */
void running_digest_add(struct running_digest *digest, const void *bytes, size_t length);

/* Writes the digest of all added bytes in lower-case hex, and frees `digest`. */
void running_digest_finish(struct running_digest *digest, char text[SHA256_TEXT_SIZE]);

/* Frees it without a result. NULL is allowed. */
void running_digest_free(struct running_digest *digest);

#endif
