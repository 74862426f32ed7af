/*
 * stop_signal: the signals of both binaries. SIGTERM and SIGINT ask a process to leave; a second
 * one ends it at once. SIGHUP asks it to read its files again: it never ends one, so that a
 * terminal can be closed. These are blocked in every thread and taken by the one that waits for
 * them. SIGPIPE is an error of write, not a signal. SIGUSR1 and SIGUSR2 mean nothing here and are
 * ignored. SIGQUIT keeps its meaning: the process ends at once, with a core dump where the system
 * keeps these.
 */
#ifndef COMMON_BASE_STOP_SIGNAL_H
#define COMMON_BASE_STOP_SIGNAL_H

#include <signal.h>
#include <stdint.h>

/* Before any thread is made: all of them inherit it. */
void stop_signal_block(void);

/* Waits for SIGTERM or SIGINT, `wait_ms` at most, without end if negative. Returns its number, or 0
 * if none came. Any thread; each signal is told to one. */
int stop_signal_wait(int64_t wait_ms);

/* The same without end, also for SIGHUP. */
int stop_signal_wait_or_reread(void);

#endif
