#include "api/failure_limit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

enum { SETS = 1024, WAYS = 8, PREFIX_LENGTH = 8, KEY_DIGITS = 16 };

/* Who failed; count 0: a free place. */
struct failure {
    uint64_t key;
    int64_t since_ms;
    unsigned count;
};

struct failure_limit {
    char salt[33];         /* nobody outside can choose who shares a set with whom */
    pthread_mutex_t mutex; /* guards what follows */
    struct failure failures[SETS][WAYS];
};

struct failure_limit *failure_limit_new(void)
{
    struct failure_limit *limit = calloc(1, sizeof *limit);
    if (limit == NULL)
        abort();
    secret_random_hex(limit->salt, sizeof limit->salt);
    pthread_mutex_init(&limit->mutex, NULL);
    return limit;
}

void failure_limit_free(struct failure_limit *limit)
{
    if (limit == NULL)
        return;
    pthread_mutex_destroy(&limit->mutex);
    free(limit);
}

static uint64_t make_key(const struct failure_limit *limit, const char *kind, const char *text,
                         size_t length)
{
    char digest[SHA256_TEXT_SIZE];
    struct digest_part parts[] = {
        {limit->salt, sizeof limit->salt}, {kind, strlen(kind)}, {text, length}};
    secret_digest(parts, sizeof parts / sizeof *parts, digest);
    digest[KEY_DIGITS] = '\0';
    return strtoull(digest, NULL, 16);
}

static bool has_passed(const struct failure *failure, int64_t now_ms)
{
    return failure->count == 0 || now_ms - failure->since_ms >= FAILURE_WINDOW_MS;
}

/* Its own place, else a free one, else that of who failed least. Under the mutex. */
static struct failure *find_place(struct failure_limit *limit, uint64_t key, int64_t now_ms)
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

bool failure_limit_note(struct failure_limit *limit, const char *address, const char *token,
                        int64_t now_ms)
{
    uint64_t keys[] = {make_key(limit, "address", address, strlen(address)),
                       make_key(limit, "token", token, strnlen(token, PREFIX_LENGTH))};
    bool is_within = true;
    pthread_mutex_lock(&limit->mutex);
    for (int i = 0; i < 2; i++)
        is_within = ++find_place(limit, keys[i], now_ms)->count <= FAILURE_LIMIT && is_within;
    pthread_mutex_unlock(&limit->mutex);
    return is_within;
}
