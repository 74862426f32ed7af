/*
 * stop_signal: the signals of both binaries. SIGTERM and SIGINT ask a process to leave; a second
 * one ends it at once, and so does the end of the grace. SIGHUP asks it to read its files again: it
 * never ends one, so that a terminal can be closed. These are blocked in every thread and taken by
 * a thread of this module, so that they are noticed whatever the others wait for. SIGPIPE is an
 * error of write, not a signal. SIGUSR1, SIGUSR2 and the timers' (SIGALRM, SIGVTALRM, SIGPROF) mean
 * nothing here and are ignored. SIGQUIT keeps its meaning: the process ends at once, with a core
 * dump where the system keeps these.
 */
#ifndef COMMON_BASE_STOP_SIGNAL_H
#define COMMON_BASE_STOP_SIGNAL_H

#include <signal.h>
#include <stdint.h>

#include "common/base/error.h"

/* Before any thread is made: all of them inherit it. */
void stop_signal_block(void);

/* What a binary does at a signal. Both functions are called on the signals' thread and return at
 * once: no signal is noticed meanwhile. */
struct stop_signal_handlers {
    /* SIGHUP, any number of times; SIGTERM or SIGINT once, as the last. */
    void (*received)(int signal_number, void *context);
    /* Logs that the grace is over. The process ends when it returns. */
    void (*overdue)(void *context);
    void *context;
    int64_t grace_ms; /* how long the process may take to leave */
};

/* Starts the thread that takes the signals, after stop_signal_block and log_open; once. From
 * SIGTERM or SIGINT on, the process ends at the latest after the grace with status 0, and at a
 * second signal with 128 and its number: by _exit, since nothing durable lives in a process.
 * `handlers` is copied; its context is used until the process ends. BW_INTERNAL with a sentence if
 * there can be no thread. */
enum bw_code stop_signal_start(const struct stop_signal_handlers *handlers, struct bw_error *error)
    BW_CHECKED;

#endif
