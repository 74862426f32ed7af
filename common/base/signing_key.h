/*
 * signing_key: an Ed25519 key that signs. Its texts are PEM (PKCS #8 the private key,
 * SubjectPublicKeyInfo the public one) and base64. A key is immutable, so any thread may use it.
 */
#ifndef COMMON_BASE_SIGNING_KEY_H
#define COMMON_BASE_SIGNING_KEY_H

#include <stddef.h>

#include "common/base/error.h"

struct signing_key;

enum {
    SIGNING_KEY_PEM_SIZE = 256,     /* of either key as PEM */
    SIGNING_KEY_PUBLIC_SIZE = 45,   /* of a public key: 32 bytes as base64 */
    SIGNING_KEY_SIGNATURE_SIZE = 89 /* of a signature: 64 bytes as base64 */
};

/* Makes the text of a new private key. Never fails: without random numbers the process ends. */
void signing_key_make(char pem[SIGNING_KEY_PEM_SIZE]);

/* Reads a private key from PEM; `pem` is borrowed. On BW_OK *key is new. BW_BAD_REQUEST: it is no
 * unencrypted private key, or one of another kind. The sentence never shows the text. */
enum bw_code signing_key_read(const char *pem, size_t length, struct signing_key **key,
                              struct bw_error *error) BW_CHECKED;
void signing_key_free(struct signing_key *key); /* NULL is allowed */

/* The public key as base64, and as PEM. Borrowed from the key. */
const char *signing_key_public(const struct signing_key *key);
const char *signing_key_public_pem(const struct signing_key *key);

/* Signs the bytes. Takes some 50 µs. */
void signing_key_sign(const struct signing_key *key, const void *bytes, size_t length,
                      char signature[SIGNING_KEY_SIGNATURE_SIZE]);

#endif
