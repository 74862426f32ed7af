#include "api/auth/auth_rate_limit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/client_network.h"
#include "common/base/alloc.h"
#include "common/base/secret.h"

enum { SETS = 1024, WAYS = 8, PREFIX_LENGTH = 8 };

/* A source of failures; count 0: a free entry. */
struct failure {
    uint64_t key;
    int64_t since_ms;
    unsigned count;
};

struct auth_rate_limit {
    unsigned most;
    char salt[33];                 /* random, so that callers can't choose sources that share a
                                      set */
    _Atomic int64_t over_until_ms; /* no source is over the limit after this time */
    pthread_mutex_t mutex;         /* guards what follows */
    struct failure failures[SETS][WAYS];
};

struct auth_rate_limit *auth_rate_limit_new(unsigned most)
{
    struct auth_rate_limit *limit = bw_alloc(sizeof *limit);
    limit->most = most;
    secret_random_hex(limit->salt, sizeof limit->salt);
    pthread_mutex_init(&limit->mutex, NULL);
    return limit;
}

void auth_rate_limit_free(struct auth_rate_limit *limit)
{
    if (limit == NULL)
        return;
    pthread_mutex_destroy(&limit->mutex);
    free(limit);
}

static uint64_t make_key(const struct auth_rate_limit *limit, const char *kind, const char *text,
                         size_t length)
{
    unsigned char digest[SHA256_BYTES];
    uint64_t key;
    struct digest_part parts[] = {
        {limit->salt, sizeof limit->salt}, {kind, strlen(kind)}, {text, length}};
    secret_digest_bytes(parts, sizeof parts / sizeof *parts, digest);
    memcpy(&key, digest, sizeof key);
    return key;
}

/* Writes the keys of the address and of the token, if there is one. Returns their number. */
static int make_keys(const struct auth_rate_limit *limit, const char *address, const char *token,
                     uint64_t keys[2])
{
    char network[CLIENT_NETWORK_SIZE];
    client_network(address, network);
    keys[0] = make_key(limit, "address", network, strlen(network));
    if (token == NULL)
        return 1;
    keys[1] = make_key(limit, "token", token, strnlen(token, PREFIX_LENGTH));
    return 2;
}

static bool has_passed(const struct failure *failure, int64_t now_ms)
{
    return failure->count == 0 || now_ms - failure->since_ms >= FAILURE_WINDOW_MS;
}

/* The entry for `key`: its own, else a free or expired one, else the one with the fewest failures.
 * Under the mutex. */
static struct failure *find_place(struct auth_rate_limit *limit, uint64_t key, int64_t now_ms)
{
    struct failure *set = limit->failures[key % SETS], *place = NULL;
    for (int i = 0; i < WAYS; i++) {
        if (has_passed(&set[i], now_ms))
            set[i] = (struct failure){.since_ms = now_ms};
        else if (set[i].key == key)
            return &set[i];
        if (place == NULL || set[i].count < place->count)
            place = &set[i];
    }
    *place = (struct failure){.key = key, .since_ms = now_ms};
    return place;
}

/* Under the mutex. */
static void count_failure(struct auth_rate_limit *limit, uint64_t key, int64_t now_ms)
{
    struct failure *failure = find_place(limit, key, now_ms);
    failure->count++;
    int64_t until_ms = failure->since_ms + FAILURE_WINDOW_MS;
    if (failure->count >= limit->most && until_ms > atomic_load(&limit->over_until_ms))
        atomic_store(&limit->over_until_ms, until_ms);
}

void auth_rate_limit_note(struct auth_rate_limit *limit, const char *address, const char *token,
                          int64_t now_ms)
{
    uint64_t keys[2];
    int count = make_keys(limit, address, token, keys);
    pthread_mutex_lock(&limit->mutex);
    for (int i = 0; i < count; i++)
        count_failure(limit, keys[i], now_ms);
    pthread_mutex_unlock(&limit->mutex);
}

/* Under the mutex. */
static int64_t key_left(const struct auth_rate_limit *limit, uint64_t key, int64_t now_ms)
{
    const struct failure *set = limit->failures[key % SETS];
    for (int i = 0; i < WAYS; i++)
        if (set[i].key == key && set[i].count >= limit->most && !has_passed(&set[i], now_ms))
            return set[i].since_ms + FAILURE_WINDOW_MS - now_ms;
    return 0;
}

int64_t auth_rate_limit_left(struct auth_rate_limit *limit, const char *address, const char *token,
                             int64_t now_ms)
{
    uint64_t keys[2];
    int64_t left_ms = 0;
    if (now_ms >= atomic_load(&limit->over_until_ms))
        return 0;
    int count = make_keys(limit, address, token, keys);
    pthread_mutex_lock(&limit->mutex);
    for (int i = 0; i < count; i++) {
        int64_t own_ms = key_left(limit, keys[i], now_ms);
        left_ms = own_ms > left_ms ? own_ms : left_ms;
    }
    pthread_mutex_unlock(&limit->mutex);
    return left_ms;
}
