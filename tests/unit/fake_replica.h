/*
 * fake_replica: a replica's signals, poll_table and delivery_table over a fake signal_store. For
 * unit tests of these modules and of their users. Include once per test program.
 */
#ifndef TESTS_UNIT_FAKE_REPLICA_H
#define TESTS_UNIT_FAKE_REPLICA_H

#include "api/grading/delivery_table.h"
#include "api/grading/poll_table.h"
#include "api/uplink/signals.h"
#include "tests/unit/fake_exchange.h"
#include "tests/unit/fake_signal_store.h"

struct fake_replica {
    struct signals *signals;
    struct delivery_table *hand_outs;
    struct poll_table *polls;
};

static inline void fake_replica_snapshot(void *context, bool with_polls,
                                         struct poll_snapshot *filled, void (*at)(void *at_context),
                                         void *at_context)
{
    const struct fake_replica *replica = context;
    poll_table_snapshot(replica->polls, with_polls, filled, at, at_context);
}

static inline struct signal_delivery *fake_replica_list(void *context, size_t limit, size_t *count)
{
    const struct fake_replica *replica = context;
    return delivery_table_list(replica->hand_outs, limit, count);
}

/* Nothing is sent before signals_start. `replica` must not be moved before fake_replica_close. */
static inline void fake_replica_open(struct fake_replica *replica, int64_t heartbeat_every_ms)
{
    struct signals_settings settings = {.heartbeat_every_ms = heartbeat_every_ms,
                                        .snapshot = fake_replica_snapshot,
                                        .list_deliveries = fake_replica_list,
                                        .context = replica,
                                        .send = fake_send};
    struct bw_error error;
    fake_store_clear();
    replica->signals = signals_new(&settings);
    replica->hand_outs = delivery_table_new();
    struct poll_table_settings poll_settings = fake_poll_table_settings(replica->signals);
    assert_int_equal(poll_table_open(&poll_settings, &replica->polls, &error), BW_OK);
}

static inline void fake_replica_close(struct fake_replica *replica)
{
    signals_stop(replica->signals); /* first: its thread reads the tables */
    poll_table_close(replica->polls);
    signals_free(replica->signals);
    delivery_table_free(replica->hand_outs);
    fake_store_clear();
}

#endif
