#include "common/base/alloc.h"
#include "common/base/stop_signal.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { OVERDUE_S = 1 }; /* how long it may take to say that the grace is over */

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

/* Waits for the signals of the set, `wait_ms` at most, without end if negative. 0: none came. */
static int stop_signal_wait(const sigset_t *signals, int64_t wait_ms)
{
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    int signal_number;
    do
        signal_number = wait_ms < 0 ? sigwaitinfo(signals, NULL)
                                    : sigtimedwait(signals, NULL, &wait);
    while (signal_number < 0 && errno == EINTR);
    return signal_number > 0 ? signal_number : 0;
}

static void *stop_signal_run(void *context)
{
    struct stop_signal_handlers handlers = *(struct stop_signal_handlers *)context;
    free(context);
    sigset_t stops = stop_set(), all = stop_set();
    sigaddset(&all, SIGHUP);
    int signal_number;
    do {
        signal_number = stop_signal_wait(&all, -1);
        handlers.received(signal_number, handlers.context);
    } while (signal_number == SIGHUP);
    signal_number = stop_signal_wait(&stops, handlers.grace_ms);
    if (signal_number > 0)
        _exit(128 + signal_number);
    signal(SIGALRM, SIG_DFL); /* should the log be held up: it ends the process */
    alarm(OVERDUE_S);
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
