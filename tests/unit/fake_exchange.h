/*
 * fake_exchange: exchanges that only record their answers. For unit tests of poll_table and of the
 * modules that use it.
 */
#ifndef TESTS_UNIT_FAKE_EXCHANGE_H
#define TESTS_UNIT_FAKE_EXCHANGE_H

#include <stdatomic.h>
#include <stdlib.h>

#include "api/grading/poll_table.h"

struct exchange {
    atomic_int answers; /* number of answers */
    atomic_int code;    /* code of the last refusal */
    atomic_bool is_gone;
    void (*gone)(struct exchange *exchange, void *context);
    void *context;
};

static inline void fake_exchange_watch(struct exchange *exchange,
                                       void (*gone)(struct exchange *exchange, void *context),
                                       void *context)
{
    exchange->gone = gone;
    exchange->context = context;
}

static inline bool fake_exchange_is_gone(const struct exchange *exchange)
{
    return atomic_load(&exchange->is_gone);
}

static inline void fake_exchange_refuse(struct exchange *exchange, enum bw_code code,
                                        const struct bw_error *error)
{
    (void)error;
    atomic_store(&exchange->code, (int)code);
    atomic_fetch_add(&exchange->answers, 1);
}

static inline struct poll_table_settings fake_poll_table_settings(struct signals *signals)
{
    return (struct poll_table_settings){signals, fake_exchange_watch, fake_exchange_is_gone,
                                        fake_exchange_refuse};
}

/* The client disconnects: makes the call that the HTTP server would make. */
static inline void fake_exchange_leave(struct exchange *exchange)
{
    atomic_store(&exchange->is_gone, true);
    exchange->gone(exchange, exchange->context);
}

#endif
