#include "common/store/waiting_commit.h"

#include <pthread.h>
#include <stdbool.h>

#include "common/clock.h"

struct waiting {
    struct commit_item item; /* first: settled() is given this */
    pthread_mutex_t mutex;   /* guards what follows */
    pthread_cond_t settled;
    bool is_settled;
    enum commit_outcome outcome;
};

static void wake(struct commit_item *item, enum commit_outcome outcome, const bson_t *existing)
{
    (void)existing;
    struct waiting *waiting = (struct waiting *)item;
    pthread_mutex_lock(&waiting->mutex);
    waiting->outcome = outcome;
    waiting->is_settled = true;
    pthread_cond_signal(
        &waiting->settled); /* under the mutex: the waiter destroys both as soon as it has it */
    pthread_mutex_unlock(&waiting->mutex);
}

enum commit_outcome waiting_commit(struct group_commit *group_commit, bson_t *document,
                                   int64_t try_ms)
{
    struct waiting waiting = {
        .item = {.document = document, .expires_ms = clock_boot_ms() + try_ms, .settled = wake},
    };
    pthread_mutex_init(&waiting.mutex, NULL);
    pthread_cond_init(&waiting.settled, NULL);
    group_commit_submit(group_commit, &waiting.item);
    pthread_mutex_lock(&waiting.mutex);
    while (!waiting.is_settled)
        pthread_cond_wait(&waiting.settled, &waiting.mutex);
    pthread_mutex_unlock(&waiting.mutex);
    pthread_cond_destroy(&waiting.settled);
    pthread_mutex_destroy(&waiting.mutex);
    return waiting.outcome;
}

enum bw_code waiting_commit_code(enum commit_outcome outcome, const char *what,
                                 struct bw_error *error)
{
    switch (outcome) {
    case COMMIT_DONE:
        return BW_OK;
    case COMMIT_DUPLICATE:
        return bw_fail(error, BW_CONFLICT, "%s: something else stands under this id", what);
    case COMMIT_REFUSED:
        return bw_fail(error, BW_TOO_LARGE,
                       "%s can't be stored: it does not fit one document of the database", what);
    case COMMIT_UNKNOWN:
        break;
    }
    return bw_fail(error, BW_UNAVAILABLE,
                   "%s could not be stored in time: the database can't be reached", what);
}
