#include "common/base/secret.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void secret_write_hex(const unsigned char *bytes, size_t count, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * count] = '\0';
}

void secret_random_hex(char *text, size_t size)
{
    unsigned char bytes[64];
    for (size_t done = 0; done + 1 < size;) {
        size_t digits = size - 1 - done,
               count = digits / 2 < sizeof bytes ? digits / 2 : sizeof bytes;
        if (gnutls_rnd(GNUTLS_RND_KEY, bytes, count) < 0)
            abort();
        secret_write_hex(bytes, count, text + done);
        done += 2 * count;
    }
}

void secret_digest_bytes(const struct digest_part *parts, size_t count,
                         unsigned char digest[SHA256_BYTES])
{
    gnutls_hash_hd_t state;
    if (gnutls_hash_init(&state, GNUTLS_DIG_SHA256) < 0)
        abort();
    for (size_t i = 0; i < count; i++) {
        uint64_t length = parts[i].length;
        gnutls_hash(state, &length, sizeof length);
        gnutls_hash(state, parts[i].bytes, parts[i].length);
    }
    gnutls_hash_deinit(state, digest);
}

void secret_digest(const struct digest_part *parts, size_t count, char text[SHA256_TEXT_SIZE])
{
    unsigned char digest[SHA256_BYTES];
    secret_digest_bytes(parts, count, digest);
    secret_write_hex(digest, sizeof digest, text);
}

void secret_keyed_digest(const char *key, const struct digest_part *parts, size_t count,
                         char text[SHA256_TEXT_SIZE])
{
    gnutls_hmac_hd_t state;
    unsigned char digest[SHA256_BYTES];
    if (gnutls_hmac_init(&state, GNUTLS_MAC_SHA256, key, strlen(key)) < 0)
        abort();
    for (size_t i = 0; i < count; i++) {
        uint64_t length = parts[i].length;
        gnutls_hmac(state, &length, sizeof length);
        gnutls_hmac(state, parts[i].bytes, parts[i].length);
    }
    gnutls_hmac_deinit(state, digest);
    secret_write_hex(digest, sizeof digest, text);
}

static void hash_token(const char *salt, const char *token, char text[SHA256_TEXT_SIZE])
{
    struct digest_part parts[] = {{salt, strlen(salt)}, {token, strlen(token)}};
    secret_digest(parts, 2, text);
}

void token_hash_make(const char *token, struct token_hash *made)
{
    secret_random_hex(made->salt, sizeof made->salt);
    hash_token(made->salt, token, made->hash);
}

void token_hash_format(const struct token_hash *kept, char text[TOKEN_HASH_TEXT_SIZE])
{
    snprintf(text, TOKEN_HASH_TEXT_SIZE, "%s:%s", kept->salt, kept->hash);
}

static bool is_hex(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdef") >= length;
}

bool token_hash_parse(const char *text, struct token_hash *kept)
{
    enum { SALT = sizeof kept->salt - 1, HASH = sizeof kept->hash - 1 };
    if (strlen(text) != SALT + 1 + HASH || !is_hex(text, SALT) || text[SALT] != ':' ||
        !is_hex(text + SALT + 1, HASH))
        return false;
    memcpy(kept->salt, text, SALT);
    memcpy(kept->hash, text + SALT + 1, HASH);
    kept->salt[SALT] = kept->hash[HASH] = '\0';
    return true;
}

bool token_hash_matches(const struct token_hash *kept, const char *token)
{
    char hash[SHA256_TEXT_SIZE];
    hash_token(kept->salt, token, hash);
    return gnutls_memcmp(hash, kept->hash, sizeof hash) == 0;
}
