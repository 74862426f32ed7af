#include "common/base/running_digest.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"

struct running_digest {
    gnutls_hash_hd_t state;
};

struct running_digest *running_digest_new(void)
{
    struct running_digest *digest = bw_alloc(sizeof *digest);
    if (gnutls_hash_init(&digest->state, GNUTLS_DIG_SHA256) < 0)
        abort();
    return digest;
}

void running_digest_add(struct running_digest *digest, const void *bytes, size_t length)
{
    if (gnutls_hash(digest->state, bytes, length) < 0)
        abort();
}

void running_digest_finish(struct running_digest *digest, char text[SHA256_TEXT_SIZE])
{
    unsigned char bytes[SHA256_BYTES];
    gnutls_hash_deinit(digest->state, bytes);
    free(digest);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

void running_digest_free(struct running_digest *digest)
{
    if (digest == NULL)
        return;
    gnutls_hash_deinit(digest->state, NULL);
    free(digest);
}
