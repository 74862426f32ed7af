/*
 * stop_signal: the signals of both binaries. SIGTERM and SIGINT start the shutdown; a second one
 * ends the process at once, and so does the end of the grace period. SIGHUP reloads files and never
 * ends a process, so that a terminal can be closed. These signals are blocked in every thread and
 * received by a thread of this module, so they are handled even while all other threads wait.
 * SIGPIPE is an error of write, not a signal. SIGUSR1, SIGUSR2 and the timers' signals (SIGALRM,
 * SIGVTALRM, SIGPROF) are ignored. SIGQUIT keeps its meaning: the process ends at once, with a core
 * dump where the system keeps these.
 */
#ifndef COMMON_BASE_STOP_SIGNAL_H
#define COMMON_BASE_STOP_SIGNAL_H

#include <signal.h>
#include <stdint.h>

#include "common/base/error.h"

/* Called before any thread is created: all threads inherit the mask. */
void stop_signal_block(void);

/* A binary's signal handlers. Both functions are called on the signals' thread and must return at
 * once: no signal is received during the call. */
struct stop_signal_handlers {
    /* SIGHUP, any number of times; SIGTERM or SIGINT once, as the last. */
    void (*received)(int signal_number, void *context);
    /* Logs that the grace period has expired. The process ends when it returns. */
    void (*overdue)(void *context);
    void *context;
    int64_t grace_ms; /* the grace period: how long a shutdown may take */
};

/* Starts the thread that takes the signals, after stop_signal_block and log_open; once. After
 * SIGTERM or SIGINT, the process ends at the latest after the grace period with status 0, and at a
 * second signal with 128 and its number: by _exit, since a process has no durable state. `handlers`
 * is copied; its context is used until the process ends. BW_INTERNAL: the thread could not be
 * started. */
enum bw_code stop_signal_start(const struct stop_signal_handlers *handlers, struct bw_error *error)
    BW_CHECKED;

#endif
