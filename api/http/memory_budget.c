#include "api/http/memory_budget.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "api/http/client_network.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/ticker.h"

enum {
    MIB = 1024 * 1024,
    TRIM_LEAST = 16 * MIB, /* least peak after which memory is trimmed */
    TRIM_PAUSE_MS = 500,   /* delay of a trim: memory is freed shortly after its hold is released */
    MAPPED_LEAST = MIB / 2, /* blocks of at least this size are mapped, and unmapped by free */
    TOP_MOST = MIB,         /* free memory that an arena keeps at its end */
    ARENAS_MOST = 4         /* number of arenas; each keeps its memory until it is trimmed */
};

struct memory_address {
    char network[CLIENT_NETWORK_SIZE]; /* key */
    size_t bytes, bodies;
    size_t holds;
    UT_hash_handle hh;
};

struct memory_budget {
    struct ticker *ticker; /* trims */
    pthread_mutex_t mutex; /* guards what follows */
    size_t used[MEMORY_POOLS];
    size_t peak;         /* the highest total since the last trim */
    int64_t trim_due_ms; /* 0: no trim is due */
    struct memory_address *addresses;
};

static const struct {
    size_t own, limit;
} pools[MEMORY_POOLS] = {
#define MEMORY_POOL_ROW(pool, own, limit) {(size_t)(own)*MIB, (size_t)(limit)*MIB},
    MEMORY_POOL_MAP(MEMORY_POOL_ROW)
#undef MEMORY_POOL_ROW
};

/* ---- Returning memory to the system ---- */

/* Fixes the allocator's thresholds. Otherwise it raises them to 32 and 64 MiB when a large body
 * is freed; then later bodies are in arenas, and malloc_trim does not return the free end of an
 * arena. */
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

/* Trims TRIM_PAUSE_MS after it was woken. */
static int64_t budget_tick(void *context)
{
    struct memory_budget *budget = context;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&budget->mutex);
    if (budget->trim_due_ms == 0)
        budget->trim_due_ms = now_ms + TRIM_PAUSE_MS;
    int64_t wait_ms = budget->trim_due_ms - now_ms;
    if (wait_ms <= 0) {
        budget->trim_due_ms = 0;
        budget->peak = budget_total(budget);
    }
    pthread_mutex_unlock(&budget->mutex);
    if (wait_ms > 0)
        return wait_ms;
    malloc_trim(0);
    return TICKER_IDLE;
}

/* ---- The budget ---- */

static void budget_free(struct memory_budget *budget)
{
    pthread_mutex_destroy(&budget->mutex);
    free(budget);
}

enum bw_code memory_budget_open(struct memory_budget **budget, struct bw_error *error)
{
    static pthread_once_t is_tuned = PTHREAD_ONCE_INIT;
    struct memory_budget *self = bw_alloc(sizeof *self);
    pthread_once(&is_tuned, budget_tune_allocator);
    pthread_mutex_init(&self->mutex, NULL);
    enum bw_code code = ticker_open("returning memory", TICKER_IDLE, budget_tick, self,
                                    &self->ticker, error);
    if (code != BW_OK) {
        budget_free(self);
        return code;
    }
    *budget = self;
    return BW_OK;
}

void memory_budget_close(struct memory_budget *budget)
{
    if (budget == NULL)
        return;
    ticker_close(budget->ticker);
    budget_free(budget);
}

size_t memory_budget_used(struct memory_budget *budget, enum memory_pool pool)
{
    pthread_mutex_lock(&budget->mutex);
    size_t used = budget->used[pool];
    pthread_mutex_unlock(&budget->mutex);
    return used;
}

/* The bytes of the shared amount that all pools together would use, if `pool` had `more` bytes. */
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

/* The part of `bytes` more that comes from the pool of first parts. */
static size_t hold_first_part(const struct memory_hold *hold, size_t bytes)
{
    size_t left = MEMORY_FIRST_BYTES - hold->first;
    size_t first = hold->rest > 0 ? 0 : bytes < left ? bytes : left;
    bool is_free = hold->first + first <= MEMORY_FREE_BYTES;
    return is_free || budget_has_room(hold->budget, MEMORY_FIRST, first) ? first : 0;
}

/* Whether `rest` more bytes would exceed the limits of the hold's address. The limit of bodies does
 * not apply to the address's only body. */
static bool hold_exceeds_address(const struct memory_hold *hold, size_t rest, bool is_body)
{
    const struct memory_address *address = hold->address;
    if (address == NULL)
        return false;
    bool has_others = address->bodies > hold->bodies;
    return address->bytes + rest > MEMORY_ADDRESS_BYTES ||
           (is_body && has_others && address->bodies + rest > MEMORY_ADDRESS_BODIES);
}

static enum bw_code hold_check(const struct memory_hold *hold, size_t rest, bool is_body,
                               struct bw_error *error)
{
    size_t most = hold->address != NULL ? MEMORY_ADDRESS_BYTES : pools[hold->pool].limit;
    if (hold->rest + rest > most)
        return bw_fail(error, BW_TOO_LARGE,
                       "the request needs more memory than the limit of %zu MiB", most / MIB);
    if (hold_exceeds_address(hold, rest, is_body) ||
        !budget_has_room(hold->budget, hold->pool, rest))
        return bw_fail(error, BW_UNAVAILABLE, "too many large requests are in flight: try again");
    return BW_OK;
}

enum bw_code memory_hold_try(const struct memory_hold *hold, size_t bytes, struct bw_error *error)
{
    struct memory_budget *budget = hold->budget;
    if (budget == NULL)
        return BW_OK;
    pthread_mutex_lock(&budget->mutex);
    size_t rest = bytes - hold_first_part(hold, bytes);
    enum bw_code code = rest > 0 ? hold_check(hold, rest, true, error) : BW_OK;
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
    enum bw_code code = rest > 0 ? hold_check(hold, rest, is_body, error) : BW_OK;
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

bool memory_hold_take_alone(struct memory_hold *hold, size_t bytes)
{
    struct memory_budget *budget = hold->budget;
    if (budget == NULL)
        return true;
    pthread_mutex_lock(&budget->mutex);
    bool is_alone = budget->used[hold->pool] == hold->rest;
    if (is_alone)
        hold_add(hold, 0, bytes, false);
    pthread_mutex_unlock(&budget->mutex);
    return is_alone;
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
        ticker_wake(budget->ticker);
    pthread_mutex_unlock(&budget->mutex);
    *hold = (struct memory_hold){.budget = NULL};
}
