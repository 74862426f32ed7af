#include "common/base/stop_signal.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { OVERDUE_S = 1 }; /* how long the log line at the end of the grace period may take */

static sigset_t stop_set(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return signals;
}

void stop_signal_block(void)
{
    static const int ignored[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF};
    sigset_t signals = stop_set();
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

static void stop_signal_end(int signal_number)
{
    _exit(128 + signal_number);
}

static void stop_signal_end_overdue(int signal_number)
{
    (void)signal_number;
    _exit(EXIT_SUCCESS);
}

/* From here on, on this thread: a second signal ends the process, and so does the end of the grace
 * period, even if a log line can't be written because its pipe is full. */
static void stop_signal_arm(int64_t grace_ms)
{
    sigset_t signals = stop_set();
    sigaddset(&signals, SIGALRM);
    signal(SIGTERM, stop_signal_end);
    signal(SIGINT, stop_signal_end);
    signal(SIGALRM, stop_signal_end_overdue);
    alarm((unsigned)((grace_ms + 999) / 1000) + OVERDUE_S);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static int stop_signal_wait(void)
{
    sigset_t signals = stop_set();
    int signal_number;
    sigaddset(&signals, SIGHUP);
    do
        signal_number = sigwaitinfo(&signals, NULL);
    while (signal_number < 0);
    return signal_number;
}

static void *stop_signal_run(void *context)
{
    struct stop_signal_handlers handlers = *(struct stop_signal_handlers *)context;
    free(context);
    int signal_number = stop_signal_wait();
    while (signal_number == SIGHUP) {
        handlers.received(signal_number, handlers.context);
        signal_number = stop_signal_wait();
    }
    struct timespec end = clock_deadline(handlers.grace_ms);
    stop_signal_arm(handlers.grace_ms);
    handlers.received(signal_number, handlers.context);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) != 0)
        continue;
    handlers.overdue(handlers.context);
    _exit(EXIT_SUCCESS);
}

enum bw_code stop_signal_start(const struct stop_signal_handlers *handlers, struct bw_error *error)
{
    pthread_t thread;
    struct stop_signal_handlers *copy = bw_alloc(sizeof *copy);
    *copy = *handlers;
    if (pthread_create(&thread, NULL, stop_signal_run, copy) != 0) {
        free(copy);
        return bw_fail(error, BW_INTERNAL, "no thread could be started for signals");
    }
    pthread_detach(thread);
    return BW_OK;
}
