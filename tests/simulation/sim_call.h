/*
 * sim_call: an operation on the database: sent now, applied a while later (or not), answered after
 * that (or not). Whoever sends it may be gone by then: such an operation is carried out all the
 * same, later or never, and the sender is not told.
 */
#ifndef TESTS_SIMULATION_SIM_CALL_H
#define TESTS_SIMULATION_SIM_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/world.h"

struct sim_call {
    struct task task; /* first */
    struct dice *dice;
    const uint32_t *incarnation; /* of the sender, and as it was when this was sent */
    uint32_t sent_by;
    bool is_known;  /* once answered: it was done, and the sender knows it */
    bool is_partly; /* while applied: of several documents only some are to be written */
    bool is_left;   /* its sender was gone before it was applied */
    void (*apply)(struct world *world, struct sim_call *call);
    /* Owns the call. `call->is_known` false: unknown. Not called if the sender is gone. */
    void (*answered)(struct world *world, struct sim_call *call);
    /* In place of it if the sender is gone: who waits at the sender learns that. NULL: nobody does.
     * The call is freed behind it. */
    void (*left)(struct world *world, struct sim_call *call);
    void (*drop)(struct task *task); /* frees it */
};

/* Sends. The dice, the sender's, are borrowed. */
void sim_call_send(struct world *world, struct sim_call *call);

/* How long an operation takes. */
int64_t sim_call_latency(struct world *world, struct dice *dice);

#endif
