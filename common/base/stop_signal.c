#include "common/base/stop_signal.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

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
    sigset_t signals = stop_set();
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
}

int stop_signal_wait(int64_t wait_ms)
{
    sigset_t signals = stop_set();
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    int signal_number;
    do
        signal_number = wait_ms < 0 ? sigwaitinfo(&signals, NULL)
                                    : sigtimedwait(&signals, NULL, &wait);
    while (signal_number < 0 && errno == EINTR);
    return signal_number > 0 ? signal_number : 0;
}

int stop_signal_wait_or_reread(void)
{
    sigset_t signals = stop_set();
    int signal_number;
    sigaddset(&signals, SIGHUP);
    do
        signal_number = sigwaitinfo(&signals, NULL);
    while (signal_number < 0 && errno == EINTR);
    return signal_number > 0 ? signal_number : 0;
}
