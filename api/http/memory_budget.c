#include "api/http/memory_budget.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "api/http/client_network.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
    MIB = 1024 * 1024,
    TRIM_LEAST = 16 * MIB,  /* a peak below that leaves nothing worth looking for */
    TRIM_PAUSE_MS = 500,    /* the memory is freed a moment after it is given back */
    MAPPED_LEAST = MIB / 2, /* from this size on memory is mapped, and unmapped when it is freed */
    TOP_MOST = MIB,         /* free memory that an arena keeps at its end */
    ARENAS_MOST = 4         /* each keeps what it once had, until it is trimmed */
};

struct memory_address {
    char network[CLIENT_NETWORK_SIZE]; /* key */
    size_t bytes, bodies;
    size_t holds;
    UT_hash_handle hh;
};

struct memory_budget {
    pthread_t thread;
    pthread_cond_t changed;
    pthread_mutex_t mutex; /* guards what follows */
    size_t used[MEMORY_POOLS];
    size_t peak; /* since the last trim */
    struct memory_address *addresses;
    bool is_stopping;
};

static const struct {
    size_t own, limit;
} pools[MEMORY_POOLS] = {
#define MEMORY_POOL_ROW(pool, own, limit) {(size_t)(own)*MIB, (size_t)(limit)*MIB},
    MEMORY_POOL_MAP(MEMORY_POOL_ROW)
#undef MEMORY_POOL_ROW
};

/* ---- Returning memory to the system ---- */

/* By itself the allocator raises both limits to 32 and 64 MiB when a large body is freed. Then
 * later bodies lie in arenas, and malloc_trim leaves what is free at an arena's end. */
static void budget_tune_allocator(void)
{
    mallopt(M_ARENA_MAX, ARENAS_MOST);
    mallopt(M_MMAP_THRESHOLD, MAPPED_LEAST);
    mallopt(M_TRIM_THRESHOLD, TOP_MOST);
}

static size_t budget_total(const struct memory_budget *budget)
{
    size_t total = 0;
    for (size_t i = 0; i < MEMORY_POOLS; i++)
        total += budget->used[i];
    return total;
}

static bool budget_needs_trim(const struct memory_budget *budget)
{
    return budget->peak >= TRIM_LEAST && budget_total(budget) < budget->peak / 4;
}

/* True: it is time to stop. */
static bool budget_await_trim(struct memory_budget *budget)
{
    pthread_mutex_lock(&budget->mutex);
    while (!budget->is_stopping && !budget_needs_trim(budget))
        pthread_cond_wait(&budget->changed, &budget->mutex);
    struct timespec until = clock_deadline(TRIM_PAUSE_MS);
    int result = 0;
    while (!budget->is_stopping && result == 0)
        result = pthread_cond_timedwait(&budget->changed, &budget->mutex, &until);
    budget->peak = budget_total(budget);
    bool stops = budget->is_stopping;
    pthread_mutex_unlock(&budget->mutex);
    return stops;
}

static void *budget_run(void *context)
{
    while (!budget_await_trim(context))
        malloc_trim(0);
    return NULL;
}

/* ---- The budget ---- */

static void budget_free(struct memory_budget *budget)
{
    pthread_cond_destroy(&budget->changed);
    pthread_mutex_destroy(&budget->mutex);
    free(budget);
}

enum bw_code memory_budget_open(struct memory_budget **budget, struct bw_error *error)
{
    static pthread_once_t is_tuned = PTHREAD_ONCE_INIT;
    struct memory_budget *self = calloc(1, sizeof *self);
    if (self == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    pthread_once(&is_tuned, budget_tune_allocator);
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->changed);
    if (pthread_create(&self->thread, NULL, budget_run, self) != 0) {
        budget_free(self);
        return bw_fail(error, BW_INTERNAL, "a thread can't be started");
    }
    *budget = self;
    return BW_OK;
}

void memory_budget_close(struct memory_budget *budget)
{
    if (budget == NULL)
        return;
    pthread_mutex_lock(&budget->mutex);
    budget->is_stopping = true;
    pthread_cond_signal(&budget->changed);
    pthread_mutex_unlock(&budget->mutex);
    pthread_join(budget->thread, NULL);
    budget_free(budget);
}

size_t memory_budget_used(struct memory_budget *budget, enum memory_pool pool)
{
    pthread_mutex_lock(&budget->mutex);
    size_t used = budget->used[pool];
    pthread_mutex_unlock(&budget->mutex);
    return used;
}

/* What all pools together have of the shared amount, if `pool` had `more`. */
static size_t budget_shared(const struct memory_budget *budget, enum memory_pool pool, size_t more)
{
    size_t shared = 0;
    for (size_t i = 0; i < MEMORY_POOLS; i++) {
        size_t used = budget->used[i] + (i == pool ? more : 0);
        shared += used > pools[i].own ? used - pools[i].own : 0;
    }
    return shared;
}

static bool budget_has_room(const struct memory_budget *budget, enum memory_pool pool, size_t more)
{
    size_t used = budget->used[pool] + more;
    if (used <= pools[pool].own)
        return true;
    return used <= pools[pool].limit && budget_shared(budget, pool, more) <= MEMORY_SHARED_BYTES;
}

/* ---- One hold ---- */

static struct memory_address *budget_find_address(struct memory_budget *budget, const char *text)
{
    char network[CLIENT_NETWORK_SIZE];
    struct memory_address *address;
    client_network(text, network);
    HASH_FIND_STR(budget->addresses, network, address);
    if (address != NULL)
        return address;
    address = bw_alloc(sizeof *address);
    memcpy(address->network, network, sizeof address->network);
    HASH_ADD_STR(budget->addresses, network, address);
    return address;
}

void memory_hold_begin(struct memory_hold *hold, struct memory_budget *budget,
                       enum memory_pool pool, const char *address)
{
    *hold = (struct memory_hold){.budget = budget, .pool = pool};
    if (budget == NULL || pool != MEMORY_UNKNOWN)
        return;
    pthread_mutex_lock(&budget->mutex);
    hold->address = budget_find_address(budget, address);
    hold->address->holds++;
    pthread_mutex_unlock(&budget->mutex);
}

/* How much of `bytes` more comes from the pool of first parts. */
static size_t hold_first_part(const struct memory_hold *hold, size_t bytes)
{
    size_t left = MEMORY_FIRST_BYTES - hold->first;
    size_t first = hold->rest > 0 ? 0 : bytes < left ? bytes : left;
    bool is_free = hold->first + first <= MEMORY_FREE_BYTES;
    return is_free || budget_has_room(hold->budget, MEMORY_FIRST, first) ? first : 0;
}

/* Would the address of `hold` have more than its share? A body alone may be as long as it likes. */
static bool hold_exceeds_address(const struct memory_hold *hold, size_t rest, bool is_body)
{
    const struct memory_address *address = hold->address;
    if (address == NULL)
        return false;
    bool has_others = address->bodies > hold->bodies;
    return address->bytes + rest > MEMORY_ADDRESS_BYTES ||
           (is_body && has_others && address->bodies + rest > MEMORY_ADDRESS_BODIES);
}

static enum bw_code hold_judge(const struct memory_hold *hold, size_t rest, bool is_body,
                               struct bw_error *error)
{
    size_t most = hold->address != NULL ? MEMORY_ADDRESS_BYTES : pools[hold->pool].limit;
    if (hold->rest + rest > most)
        return bw_fail(error, BW_TOO_LARGE,
                       "the request needs more memory than the %zu MiB that there are for it",
                       most / MIB);
    if (hold_exceeds_address(hold, rest, is_body) ||
        !budget_has_room(hold->budget, hold->pool, rest))
        return bw_fail(error, BW_UNAVAILABLE, "too many large requests are under way: try again");
    return BW_OK;
}

enum bw_code memory_hold_try(const struct memory_hold *hold, size_t bytes, struct bw_error *error)
{
    struct memory_budget *budget = hold->budget;
    if (budget == NULL)
        return BW_OK;
    pthread_mutex_lock(&budget->mutex);
    size_t rest = bytes - hold_first_part(hold, bytes);
    enum bw_code code = rest > 0 ? hold_judge(hold, rest, true, error) : BW_OK;
    pthread_mutex_unlock(&budget->mutex);
    return code;
}

static void hold_add(struct memory_hold *hold, size_t first, size_t rest, bool is_body)
{
    struct memory_budget *budget = hold->budget;
    hold->first += first;
    hold->rest += rest;
    hold->bodies += is_body ? rest : 0;
    budget->used[MEMORY_FIRST] += first;
    budget->used[hold->pool] += rest;
    if (hold->address != NULL) {
        hold->address->bytes += rest;
        hold->address->bodies += is_body ? rest : 0;
    }
    size_t total = budget_total(budget);
    if (total > budget->peak)
        budget->peak = total;
}

static enum bw_code hold_take(struct memory_hold *hold, size_t bytes, bool is_body,
                              struct bw_error *error)
{
    struct memory_budget *budget = hold->budget;
    if (budget == NULL)
        return BW_OK;
    pthread_mutex_lock(&budget->mutex);
    size_t first = hold_first_part(hold, bytes), rest = bytes - first;
    enum bw_code code = rest > 0 ? hold_judge(hold, rest, is_body, error) : BW_OK;
    if (code == BW_OK)
        hold_add(hold, first, rest, is_body);
    pthread_mutex_unlock(&budget->mutex);
    return code;
}

enum bw_code memory_hold_take(struct memory_hold *hold, size_t bytes, struct bw_error *error)
{
    return hold_take(hold, bytes, true, error);
}

enum bw_code memory_hold_take_parsed(struct memory_hold *hold, size_t bytes, struct bw_error *error)
{
    return hold_take(hold, bytes, false, error);
}

static void hold_leave_address(struct memory_hold *hold)
{
    struct memory_address *address = hold->address;
    if (address == NULL)
        return;
    hold->address = NULL;
    address->bytes -= hold->rest;
    address->bodies -= hold->bodies;
    if (--address->holds > 0)
        return;
    HASH_DEL(hold->budget->addresses, address);
    free(address);
}

void memory_hold_move(struct memory_hold *hold, enum memory_pool pool)
{
    struct memory_budget *budget = hold->budget;
    if (budget != NULL) {
        pthread_mutex_lock(&budget->mutex);
        hold_leave_address(hold);
        budget->used[hold->pool] -= hold->rest;
        budget->used[pool] += hold->rest;
        pthread_mutex_unlock(&budget->mutex);
    }
    hold->pool = pool;
}

void memory_hold_release(struct memory_hold *hold)
{
    struct memory_budget *budget = hold->budget;
    if (budget == NULL)
        return;
    pthread_mutex_lock(&budget->mutex);
    hold_leave_address(hold);
    budget->used[MEMORY_FIRST] -= hold->first;
    budget->used[hold->pool] -= hold->rest;
    if (budget_needs_trim(budget))
        pthread_cond_signal(&budget->changed);
    pthread_mutex_unlock(&budget->mutex);
    *hold = (struct memory_hold){.budget = NULL};
}
