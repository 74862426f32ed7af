/*
 * memory_budget: how much memory requests and messages hold at a time: their bodies, and what is
 * parsed of them. Who is refused when memory runs short depends on the sender, by pools:
 *
 * The first MEMORY_FREE_BYTES of every request are counted, but never refused: a heartbeat always
 * fits. Up to MEMORY_FIRST_BYTES come from a pool that all senders share, as long as there is room
 * in it. The rest comes from the sender's own pool. Each pool has an amount of its own that nobody
 * else can take; beyond it, pools draw on a shared amount, up to their limit. Senders that are
 * not known have no amount of their own, and are limited by address (api/http/client_network.h) as
 * well: most of all in bodies, which last for as long as their senders like; what is parsed of one
 * lasts for as long as it is handled. A body beside which its address has no other may be longer.
 *
 * One thread: when much memory was given back, it returns free pages to the system; large blocks
 * return by themselves, for which it fixes the allocator's thresholds. Callers: the fronts and the
 * websockets. Safe from any thread; a hold belongs to one thread at a time.
 */
#ifndef API_HTTP_MEMORY_BUDGET_H
#define API_HTTP_MEMORY_BUDGET_H

#include <stddef.h>

#include "common/base/error.h"

struct memory_budget;
struct memory_address; /* what the unknown senders of one address hold */

enum {
    MEMORY_FREE_BYTES = 8 * 1024,
    MEMORY_FIRST_BYTES = 128 * 1024,
    MEMORY_SHARED_BYTES = 288 * 1024 * 1024,
    MEMORY_ADDRESS_BYTES = 240 * 1024 * 1024, /* of the unknown senders of one address */
    MEMORY_ADDRESS_BODIES = 64 * 1024 *
                            1024 /* of that, bodies: five addresses fill what is shared */
};

/* X(pool, MiB of its own, limit with what is shared) */
#define MEMORY_POOL_MAP(X)                                          \
    X(FIRST, 32, 32)   /* first parts, whoever sends them */        \
    X(UNKNOWN, 0, 288) /* senders without a credential */           \
    X(CLIENT, 16, 304) /* clients with a valid token */             \
    X(WORKER, 96, 384) /* results of registered workers, by HTTP */ \
    X(SOCKET, 48, 128) /* messages of registered workers' websockets */

enum memory_pool {
#define MEMORY_POOL_ENUM(pool, own, limit) MEMORY_##pool,
    MEMORY_POOL_MAP(MEMORY_POOL_ENUM)
#undef MEMORY_POOL_ENUM
        MEMORY_POOLS
};

/* What one request holds. All zero: nothing, of no budget; then nothing is refused or counted. */
struct memory_hold {
    struct memory_budget *budget;
    struct memory_address *address; /* of MEMORY_UNKNOWN */
    enum memory_pool pool;
    size_t first, rest, bodies; /* `bodies`: the part of `rest` that is no parsed text */
};

/* BW_INTERNAL: no thread. */
enum bw_code memory_budget_open(struct memory_budget **budget, struct bw_error *error) BW_CHECKED;

/* All holds must have been released. NULL is fine. */
void memory_budget_close(struct memory_budget *budget);

size_t memory_budget_used(struct memory_budget *budget, enum memory_pool pool);

/* Begins a hold of nothing. `address` is the sender's, for MEMORY_UNKNOWN. */
void memory_hold_begin(struct memory_hold *hold, struct memory_budget *budget,
                       enum memory_pool pool, const char *address);

/* Takes `bytes` more. BW_UNAVAILABLE: there is no room now. BW_TOO_LARGE: there never will be. */
enum bw_code memory_hold_take(struct memory_hold *hold, size_t bytes, struct bw_error *error)
    BW_CHECKED;

/* The same for what is parsed of a body. */
enum bw_code memory_hold_take_parsed(struct memory_hold *hold, size_t bytes, struct bw_error *error)
    BW_CHECKED;

/* Would memory_hold_take succeed now? The same codes. */
enum bw_code memory_hold_try(const struct memory_hold *hold, size_t bytes, struct bw_error *error)
    BW_CHECKED;

/* The sender is known now: what the hold has moves to another pool. */
void memory_hold_move(struct memory_hold *hold, enum memory_pool pool);

/* Gives back everything. */
void memory_hold_release(struct memory_hold *hold);

#endif
