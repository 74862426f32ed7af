/*
 * clock: the two kinds of time. Durations are measured on a clock that no one sets and that counts
 * while the machine is suspended; dates are UTC milliseconds and, in documents, always the
 * database's (see database_now_ms). Safe from any thread.
 */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { DATE_TEXT_SIZE = 32 };

/* Milliseconds since this machine was started, suspended time included. Never goes back. */
int64_t clock_boot_ms(void);

/* This machine's idea of UTC, in milliseconds since 1970: for log lines, and for nothing that
 * counts. */
int64_t clock_wall_ms(void);

/* Writes `date_ms` (UTC milliseconds since 1970) as RFC 3339 with milliseconds, e.g.
 * 2026-09-01T23:59:00.000Z, into `text`, and returns it. */
const char *date_format(int64_t date_ms, char text[DATE_TEXT_SIZE]);

/* The instant `wait_ms` from now for pthread_cond_timedwait, on CLOCK_MONOTONIC. */
struct timespec clock_deadline(int64_t wait_ms);

/* Makes a condition that is waited for until such an instant. pthread_cond_destroy. */
void clock_condition_init(pthread_cond_t *condition);

#endif
