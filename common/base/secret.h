/*
 * secret: random identifiers, digests, and tokens kept as salted hashes and compared in constant
 * time. Safe from any thread.
 */
#ifndef COMMON_BASE_SECRET_H
#define COMMON_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

enum { SHA256_TEXT_SIZE = 65 };

/* Fills `text` with size-1 random hex digits and a NUL. `size` is odd. Never fails: without random
 * numbers the process ends. */
void secret_random_hex(char *text, size_t size);

/* One part of what is digested. */
struct digest_part {
    const void *bytes;
    size_t length;
};

/* SHA-256 over the parts, each preceded by its length, so that different lists of parts differ.
 * Lower-case hex. */
void secret_digest(const struct digest_part *parts, size_t count, char text[SHA256_TEXT_SIZE]);

/* The same as bytes. */
enum { SHA256_BYTES = 32 };
void secret_digest_bytes(const struct digest_part *parts, size_t count,
                         unsigned char digest[SHA256_BYTES]);

/* HMAC-SHA-256 over the parts, each preceded by its length: it can't be computed without `key`.
 * Lower-case hex. */
void secret_keyed_digest(const char *key, const struct digest_part *parts, size_t count,
                         char text[SHA256_TEXT_SIZE]);

/* The name of a token, with its NUL; the names are not secret. */
enum { TOKEN_NAME_SIZE = 65 };

/* A stored token: its salt and its hash. */
struct token_hash {
    char salt[33];
    char hash[SHA256_TEXT_SIZE];
};

/* Hashes the token with a fresh random salt. */
void token_hash_make(const char *token, struct token_hash *made);

/* Converts it to text for the database, and back. False: the text has another format. */
enum { TOKEN_HASH_TEXT_SIZE = 33 + SHA256_TEXT_SIZE };
void token_hash_format(const struct token_hash *kept, char text[TOKEN_HASH_TEXT_SIZE]);
bool token_hash_parse(const char *text, struct token_hash *kept);

/* Whether it is that token. Takes constant time. */
bool token_hash_matches(const struct token_hash *kept, const char *token);

#endif
