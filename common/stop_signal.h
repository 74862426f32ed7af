/*
 * stop_signal: SIGTERM and SIGINT, which ask a process to leave. They are blocked in every thread
 * and taken by the one that waits for them. Used by both binaries' main and by what waits for the
 * database at the start.
 */
#ifndef COMMON_STOP_SIGNAL_H
#define COMMON_STOP_SIGNAL_H

#include <signal.h>
#include <stdint.h>

/* Blocks both, and SIGPIPE. Before any thread is made: all of them inherit it. */
void stop_signal_block(void);

/* The set of both. */
sigset_t stop_signal_set(void);

/* Waits for one of them, `wait_ms` at most, without end if negative. Returns its number, or 0 if
 * none came. Any thread; each signal is told to one. */
int stop_signal_wait(int64_t wait_ms);

#endif
