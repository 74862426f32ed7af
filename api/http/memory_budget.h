/*
 * memory_budget: limits the memory that requests and messages hold at a time: their bodies, and the
 * values that are parsed from them. When memory runs out, the sender decides who is refused, by
 * pools:
 *
 * The first MEMORY_FREE_BYTES of every request are counted, but never refused, so a heartbeat
 * always fits. Up to MEMORY_FIRST_BYTES come from a pool that all senders share, as long as it has
 * room. The rest comes from the sender's own pool. Each pool has an amount that no other pool can
 * use; beyond it, pools draw on a shared amount, up to their limit. Unknown senders have no amount
 * of their own, and are also limited by address (api/http/client_network.h), above all in bodies: a
 * sender decides how long a body is held, whereas parsed values are held only while a request is
 * handled. If an address has no other body, its one body may exceed that limit.
 *
 * One thread returns free pages to the system after much memory was released. Large blocks return
 * by themselves: the module sets the allocator's thresholds for that. Callers: the HTTP servers,
 * the websockets, hand_outs. Safe from any thread; a hold belongs to one thread at a time.
 */
#ifndef API_HTTP_MEMORY_BUDGET_H
#define API_HTTP_MEMORY_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

struct memory_budget;
struct memory_address; /* the memory of one address's unknown senders */

enum {
    MEMORY_FREE_BYTES = 8 * 1024,
    MEMORY_FIRST_BYTES = 128 * 1024,
    MEMORY_SHARED_BYTES = 288 * 1024 * 1024,
    MEMORY_ADDRESS_BYTES = 240 * 1024 * 1024, /* limit for the unknown senders of one address */
    MEMORY_ADDRESS_BODIES = 64 * 1024 * 1024  /* the same for their bodies */
};

/* X(pool, own amount in MiB, limit in MiB including the shared amount) */
#define MEMORY_POOL_MAP(X)                                                \
    X(FIRST, 32, 32)     /* first parts of all senders */                 \
    X(UNKNOWN, 0, 288)   /* senders without a credential */               \
    X(CLIENT, 16, 304)   /* clients with a valid token */                 \
    X(WORKER, 96, 384)   /* results of registered workers, by HTTP */     \
    X(SOCKET, 48, 128)   /* messages of registered workers' websockets */ \
    X(HAND_OUT, 32, 320) /* jobs on their way to graders, and definitions read for them */

enum memory_pool {
#define MEMORY_POOL_ENUM(pool, own, limit) MEMORY_##pool,
    MEMORY_POOL_MAP(MEMORY_POOL_ENUM)
#undef MEMORY_POOL_ENUM
        MEMORY_POOLS
};

/* The memory that one request holds, in bytes. All zero: nothing, without a budget; then nothing is
 * refused or counted. */
struct memory_hold {
    struct memory_budget *budget;
    struct memory_address *address; /* for MEMORY_UNKNOWN */
    enum memory_pool pool;
    size_t first, rest, bodies; /* `bodies`: the part of `rest` that is not parsed values */
};

/* Creates *budget, and starts the thread. BW_INTERNAL: no thread. */
enum bw_code memory_budget_open(struct memory_budget **budget, struct bw_error *error) BW_CHECKED;

/* All holds must have been released. NULL is allowed. */
void memory_budget_close(struct memory_budget *budget);

/* The bytes that are held of a pool. */
size_t memory_budget_used(struct memory_budget *budget, enum memory_pool pool);

/* Begins an empty hold. `address`: the sender's numeric address, used for MEMORY_UNKNOWN. Borrows
 * `budget` (may be NULL) until memory_hold_release. */
void memory_hold_begin(struct memory_hold *hold, struct memory_budget *budget,
                       enum memory_pool pool, const char *address);

/* Takes `bytes` more for a body. BW_UNAVAILABLE: there is no room now. BW_TOO_LARGE: there never
 * will be. */
enum bw_code memory_hold_take(struct memory_hold *hold, size_t bytes, struct bw_error *error)
    BW_CHECKED;

/* The same for values that are parsed from a body. */
enum bw_code memory_hold_take_parsed(struct memory_hold *hold, size_t bytes, struct bw_error *error)
    BW_CHECKED;

/* Takes `bytes`, regardless of the limits, if no other hold has memory of its pool (first parts do
 * not count). False: another hold has. */
bool memory_hold_take_alone(struct memory_hold *hold, size_t bytes);

/* Whether memory_hold_take would succeed now. The same codes. */
enum bw_code memory_hold_try(const struct memory_hold *hold, size_t bytes, struct bw_error *error)
    BW_CHECKED;

/* Moves the hold's memory to another pool, since the sender is known now. */
void memory_hold_move(struct memory_hold *hold, enum memory_pool pool);

/* Returns all memory of the hold to its budget. */
void memory_hold_release(struct memory_hold *hold);

#endif
