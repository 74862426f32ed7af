/*
 * clock: the two kinds of time. Durations are measured on a monotonic clock that also counts
 * suspended time; dates are UTC milliseconds and, in documents, always the database's (see
 * database_now_ms). Safe from any thread.
 */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds since this machine was started, suspended time included. Never goes back. */
int64_t clock_boot_ms(void);

/* This machine's UTC, in milliseconds since 1970. Only for log lines. */
int64_t clock_wall_ms(void);

/* The instant `wait_ms` from now for pthread_cond_timedwait, on CLOCK_MONOTONIC. */
struct timespec clock_deadline(int64_t wait_ms);

/* Initializes a condition for waits until such an instant. The caller destroys it with
 * pthread_cond_destroy. */
void clock_condition_init(pthread_cond_t *condition);

#endif
