#include "api/auth/known_tokens.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/secret.h"

enum { KNOWN_SETS = 1024, KNOWN_WAYS = 8, KNOWN_KEY_BYTES = 16 };

/* A token; used 0: a free entry. */
struct known_token {
    unsigned char key[KNOWN_KEY_BYTES];
    uint64_t used;
};

struct known_tokens {
    char salt[33];         /* random, so that callers can't choose tokens that share a set */
    pthread_mutex_t mutex; /* guards what follows */
    uint64_t uses;
    struct known_token tokens[KNOWN_SETS][KNOWN_WAYS];
};

struct known_tokens *known_tokens_new(void)
{
    struct known_tokens *known = bw_alloc(sizeof *known);
    secret_random_hex(known->salt, sizeof known->salt);
    pthread_mutex_init(&known->mutex, NULL);
    return known;
}

void known_tokens_free(struct known_tokens *known)
{
    if (known == NULL)
        return;
    pthread_mutex_destroy(&known->mutex);
    free(known);
}

static void known_tokens_key(const struct known_tokens *known, const char *token,
                             unsigned char digest[SHA256_BYTES])
{
    const struct digest_part parts[] = {{known->salt, sizeof known->salt}, {token, strlen(token)}};
    secret_digest_bytes(parts, sizeof parts / sizeof *parts, digest);
}

static struct known_token *known_tokens_set(struct known_tokens *known,
                                            const unsigned char digest[SHA256_BYTES])
{
    /* bytes of the digest beyond those that are compared */
    size_t number = (size_t)digest[KNOWN_KEY_BYTES] << 8 | digest[KNOWN_KEY_BYTES + 1];
    return known->tokens[number % KNOWN_SETS];
}

/* The entry of this digest, or NULL. Under the mutex. */
static struct known_token *known_tokens_find(struct known_tokens *known,
                                             const unsigned char digest[SHA256_BYTES])
{
    struct known_token *set = known_tokens_set(known, digest);
    for (int i = 0; i < KNOWN_WAYS; i++)
        if (set[i].used != 0 && memcmp(set[i].key, digest, KNOWN_KEY_BYTES) == 0)
            return &set[i];
    return NULL;
}

void known_tokens_add(struct known_tokens *known, const char *token)
{
    unsigned char digest[SHA256_BYTES];
    if (known == NULL || token == NULL)
        return;
    known_tokens_key(known, token, digest);
    pthread_mutex_lock(&known->mutex);
    struct known_token *place = known_tokens_find(known, digest);
    if (place == NULL) {
        struct known_token *set = known_tokens_set(known, digest);
        place = set;
        for (int i = 1; i < KNOWN_WAYS; i++)
            if (set[i].used < place->used)
                place = &set[i];
        memcpy(place->key, digest, sizeof place->key);
    }
    place->used = ++known->uses;
    pthread_mutex_unlock(&known->mutex);
}

bool known_tokens_has(struct known_tokens *known, const char *token)
{
    unsigned char digest[SHA256_BYTES];
    if (known == NULL || token == NULL)
        return false;
    known_tokens_key(known, token, digest);
    pthread_mutex_lock(&known->mutex);
    bool has = known_tokens_find(known, digest) != NULL;
    pthread_mutex_unlock(&known->mutex);
    return has;
}
