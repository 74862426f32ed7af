#include "api/uplink/scheduler_queries.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "api/uplink/signals.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json_write.h"
#include "common/base/ticker.h"

enum {
    ASK_AGAIN_MS = 1000,
    SCAN_MS = 200,
    KEY_SIZE = WORKER_ID_SIZE + 40,
    KINDS = QUERY_ESTIMATE_COURSE + 1
};

/* A caller that waits for an answer. */
struct asker {
    struct query query;
    int64_t expires_ms;
    struct asker *next;
};

/* The open query of one kind and subject. */
struct open_query {
    char key[KEY_SIZE];
    struct signal_query row; /* as it is sent, with its number */
    int64_t asked_ms;
    struct asker *asking;  /* callers that get the answer, the last one first */
    struct asker *waiting; /* callers that came later; they get the next answer */
    UT_hash_handle hh;     /* by key */
    UT_hash_handle hh_number;
};

struct queries {
    struct signals *signals;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows */
    struct open_query *open, *numbered;
    size_t waiting[KINDS]; /* callers that wait, by kind */
    int64_t last_number;
    bool is_closing;
};

/* ---- Open queries; the mutex is held ---- */

/* Sends the query. Signals never call back, so the mutex may be held. */
static void open_query_ask(struct queries *queries, struct open_query *open, int64_t now_ms)
{
    open->asked_ms = now_ms;
    signals_query(queries->signals, &open->row);
}

/* Sends the query under a new number. */
static void open_query_begin(struct queries *queries, struct open_query *open, int64_t now_ms)
{
    open->row.number = ++queries->last_number;
    HASH_ADD(hh_number, queries->numbered, row.number, sizeof open->row.number, open);
    open_query_ask(queries, open, now_ms);
}

static void open_query_key(const struct query *query, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%d %lld %s", (int)query->kind, (long long)query->epoch,
             query->subject);
}

static void open_query_add(struct queries *queries, struct asker *asker, int64_t now_ms)
{
    struct open_query *open;
    char key[KEY_SIZE];
    open_query_key(&asker->query, key);
    HASH_FIND_STR(queries->open, key, open);
    if (open != NULL) {
        LL_PREPEND(open->waiting, asker);
        return;
    }
    open = bw_alloc(sizeof *open);
    memcpy(open->key, key, sizeof open->key);
    open->row.kind = asker->query.kind;
    open->row.epoch = asker->query.epoch;
    memcpy(open->row.subject, asker->query.subject, sizeof open->row.subject);
    open->asking = asker;
    HASH_ADD_STR(queries->open, key, open);
    open_query_begin(queries, open, now_ms);
}

/* Ends a query that has its answer, or whose callers have all expired: sends it anew for the
 * waiting callers, or frees it. */
static void open_query_end(struct queries *queries, struct open_query *open, int64_t now_ms)
{
    HASH_DELETE(hh_number, queries->numbered, open);
    open->asking = open->waiting;
    open->waiting = NULL;
    if (open->asking != NULL) {
        open_query_begin(queries, open, now_ms);
        return;
    }
    HASH_DELETE(hh, queries->open, open);
    free(open);
}

/* Moves expired callers from `list` to `expired`; if closing, all of them. */
static void take_expired(struct queries *queries, struct asker **list, int64_t now_ms,
                         struct asker **expired)
{
    struct asker *asker, *following;
    LL_FOREACH_SAFE (*list, asker, following) {
        if (!queries->is_closing && now_ms < asker->expires_ms)
            continue;
        queries->waiting[asker->query.kind]--;
        LL_DELETE(*list, asker);
        LL_PREPEND(*expired, asker);
    }
}

/* ---- Callers; the mutex is not held ---- */

static void askers_notify(struct asker *askers, enum bw_code code,
                          const struct query_answer *answer)
{
    struct asker *asker, *following;
    LL_FOREACH_SAFE (askers, asker, following) {
        asker->query.answered(code, answer, asker->query.context);
        free(asker);
    }
}

static size_t waiting_max(enum query_kind kind)
{
    if (kind == QUERY_ENDED)
        return SIZE_MAX;
    return kind == QUERY_WORKERS ? LISTS_WAITING_MAX : QUERIES_WAITING_MAX;
}

void scheduler_queries_ask(struct queries *queries, const struct query *query)
{
    int64_t now_ms = clock_boot_ms();
    struct asker *asker = bw_alloc(sizeof *asker);
    asker->query = *query;
    asker->expires_ms = now_ms + query->request_timeout_ms;
    pthread_mutex_lock(&queries->mutex);
    bool is_taken = !queries->is_closing &&
                    queries->waiting[query->kind] < waiting_max(query->kind);
    if (is_taken) {
        bool is_first = queries->open == NULL;
        queries->waiting[query->kind]++;
        open_query_add(queries, asker, now_ms);
        if (is_first)
            ticker_wake(queries->ticker);
    }
    pthread_mutex_unlock(&queries->mutex);
    if (!is_taken)
        askers_notify(asker, BW_UNAVAILABLE, NULL);
}

/* Removes and returns the callers that wait for this answer. */
static struct asker *take_asking(struct queries *queries, int64_t number)
{
    struct open_query *open;
    struct asker *asking = NULL, *asker;
    pthread_mutex_lock(&queries->mutex);
    HASH_FIND(hh_number, queries->numbered, &number, sizeof number, open);
    if (open != NULL) {
        asking = open->asking;
        LL_FOREACH (asking, asker)
            queries->waiting[asker->query.kind]--;
        open_query_end(queries, open, clock_boot_ms());
    }
    pthread_mutex_unlock(&queries->mutex);
    return asking;
}

void scheduler_queries_answer(struct queries *queries, int64_t number, const json_t *answer)
{
    struct asker *asking = take_asking(queries, number);
    if (asking == NULL)
        return;
    char *text = json_write(answer, JSON_COMPACT | JSON_ENCODE_ANY);
    struct query_answer received = {.value = answer, .text = text};
    askers_notify(asking, text != NULL ? BW_OK : BW_UNAVAILABLE, text != NULL ? &received : NULL);
    free(text);
}

/* Sends queries again that had no answer for ASK_AGAIN_MS. Removes and returns expired callers. */
static struct asker *scheduler_queries_scan(struct queries *queries, int64_t now_ms)
{
    struct open_query *open, *following;
    struct asker *expired = NULL;
    HASH_ITER (hh, queries->open, open, following) {
        take_expired(queries, &open->asking, now_ms, &expired);
        take_expired(queries, &open->waiting, now_ms, &expired);
        if (open->asking == NULL)
            open_query_end(queries, open, now_ms);
        else if (now_ms - open->asked_ms >= ASK_AGAIN_MS)
            open_query_ask(queries, open, now_ms);
    }
    return expired;
}

static int64_t scheduler_queries_tick(void *context)
{
    struct queries *queries = context;
    pthread_mutex_lock(&queries->mutex);
    struct asker *expired = scheduler_queries_scan(queries, clock_boot_ms());
    bool is_idle = queries->open == NULL;
    pthread_mutex_unlock(&queries->mutex);
    askers_notify(expired, BW_UNAVAILABLE, NULL);
    return is_idle ? TICKER_IDLE : SCAN_MS;
}

enum bw_code scheduler_queries_open(struct signals *signals, struct queries **queries,
                                    struct bw_error *error)
{
    struct queries *opened = bw_alloc(sizeof *opened);
    opened->signals = signals;
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = ticker_open("the scheduler's queries", TICKER_IDLE, scheduler_queries_tick,
                                    opened, &opened->ticker, error);
    if (code != BW_OK) {
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return code;
    }
    *queries = opened;
    return BW_OK;
}

void scheduler_queries_close(struct queries *queries)
{
    if (queries == NULL)
        return;
    pthread_mutex_lock(&queries->mutex);
    queries->is_closing = true;
    pthread_mutex_unlock(&queries->mutex);
    scheduler_queries_tick(queries); /* completes all queries as unavailable */
    ticker_close(queries->ticker);
    pthread_mutex_destroy(&queries->mutex);
    free(queries);
}
