#include "tests/bench/load_loop.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/samples.h"

enum { EVENTS = 256, TICK_MS = 1, REST_MS = 100 };

void loop_open(struct loop *loop)
{
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        perror("epoll");
        exit(1);
    }
}

static void handle_events(struct loop *loop, int wait_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(loop->epoll, events, EVENTS, wait_ms);
    for (int i = 0; i < count; i++)
        link_ready(events[i].data.ptr, events[i].events);
    if (loop->tick != NULL)
        loop->tick(loop->context);
}

bool loop_run(struct loop *loop, bool (*is_done)(void *context), void *context, double limit_s)
{
    int64_t until_ns = now_ns() + (int64_t)(limit_s * 1e9);
    int longest_ms = loop->tick != NULL ? TICK_MS : REST_MS;
    while (!is_done(context)) {
        int64_t left_ns = until_ns - now_ns();
        if (left_ns < 0)
            return false;
        int64_t left_ms = left_ns / 1000000 + 1;
        handle_events(loop, left_ms < longest_ms ? (int)left_ms : longest_ms);
    }
    return true;
}

void loop_wait_for_input(struct loop *loop)
{
    struct pollfd both[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = loop->epoll, .events = POLLIN}};
    while (poll(both, 2, loop->tick != NULL ? TICK_MS : -1) >= 0 || errno == EINTR) {
        if (both[0].revents != 0)
            return;
        handle_events(loop, 0);
    }
}

void loop_refused(struct loop *loop, const struct answer *answer)
{
    if (answer->status == 0)
        loop->lost++;
    else
        loop->refused++;
    if (loop->first_refusal[0] == '\0')
        snprintf(loop->first_refusal, sizeof loop->first_refusal, "%d %.200s", answer->status,
                 answer->body);
}
