#include "api/http/lingering_close.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
    LINGER_MS = 3000,
    LINGER_BYTES = 1024 *
                   1024, /* bytes of each that are read and dropped; later bytes are not read */
    LINGER_BYTES_DECLARED = 16 * 1024 *
                            1024, /* the same for a client that has announced their number */
    EVENTS_AT_ONCE = 64,
    READ_SIZE = 64 * 1024,
    READS_AT_ONCE = 16, /* reads before the other connections are served */
    LINGERING_SHARE = 16
};

size_t lingering_close_room(size_t connections)
{
    size_t share = connections / LINGERING_SHARE;
    if (share < LINGERING_LEAST)
        return LINGERING_LEAST;
    return share < LINGERING_MOST ? share : LINGERING_MOST;
}

struct kept {
    int fd;
    int64_t deadline_ms;
    size_t left; /* bytes that may still be read */
    struct kept *prev, *next;
};

struct lingering_close {
    pthread_t thread;
    int epoll;
    int wake;              /* an eventfd: a first connection was taken, or is_stopping */
    size_t most;           /* limit of kept connections */
    char *sink;            /* own: READ_SIZE bytes for data that is dropped */
    pthread_mutex_t mutex; /* guards what follows */
    struct kept *kept;     /* by deadline */
    size_t count;
    bool is_stopping;
};

/* Closes a kept connection. Only the thread does so, so it never uses a freed one. It is removed
 * from the epoll set explicitly, since close removes only the last of all duplicates. */
static void lingering_close_end(struct lingering_close *lingering_close, struct kept *kept)
{
    epoll_ctl(lingering_close->epoll, EPOLL_CTL_DEL, kept->fd, NULL);
    pthread_mutex_lock(&lingering_close->mutex);
    DL_DELETE(lingering_close->kept, kept);
    lingering_close->count--;
    pthread_mutex_unlock(&lingering_close->mutex);
    close(kept->fd);
    free(kept);
}

/* Stops reading. The client can still read its answer, since no reset is sent before the
 * deadline. */
static void stop_reading(struct lingering_close *lingering_close, struct kept *kept)
{
    struct epoll_event event = {
        .events = 0, .data.ptr = kept}; /* only errors and the close of both ends are reported */
    epoll_ctl(lingering_close->epoll, EPOLL_CTL_MOD, kept->fd, &event);
}

static void drain_input(struct lingering_close *lingering_close, struct kept *kept)
{
    for (int i = 0; i < READS_AT_ONCE && kept->left > 0; i++) {
        size_t most = kept->left < READ_SIZE ? kept->left : READ_SIZE;
        ssize_t length = recv(kept->fd, lingering_close->sink, most, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length <= 0) {
            lingering_close_end(lingering_close, kept);
            return;
        }
        kept->left -= (size_t)length;
    }
    if (kept->left == 0)
        stop_reading(lingering_close, kept);
}

/* Handles an event. When nothing more is read, an event means a closed or broken connection. */
static void handle_event(struct lingering_close *lingering_close, struct kept *kept)
{
    if (kept->left > 0)
        drain_input(lingering_close, kept);
    else
        lingering_close_end(lingering_close, kept);
}

/* Closes connections whose time is over. Returns the milliseconds until the next deadline;
 * negative: there is none. */
static int lingering_close_end_due(struct lingering_close *lingering_close)
{
    for (;;) {
        pthread_mutex_lock(&lingering_close->mutex);
        struct kept *first = lingering_close->kept;
        bool is_stopping = lingering_close->is_stopping;
        pthread_mutex_unlock(&lingering_close->mutex);
        if (first == NULL)
            return -1;
        int64_t left_ms = first->deadline_ms - clock_boot_ms();
        if (left_ms > 0 && !is_stopping)
            return (int)left_ms;
        lingering_close_end(lingering_close, first);
    }
}

static bool lingering_close_is_stopping(struct lingering_close *lingering_close)
{
    eventfd_t ignored;
    eventfd_read(lingering_close->wake, &ignored);
    pthread_mutex_lock(&lingering_close->mutex);
    bool stops = lingering_close->is_stopping;
    pthread_mutex_unlock(&lingering_close->mutex);
    return stops;
}

static void *lingering_close_run(void *context)
{
    struct lingering_close *lingering_close = context;
    struct epoll_event events[EVENTS_AT_ONCE];
    bool stops = false;
    while (!stops) {
        int count = epoll_wait(lingering_close->epoll, events, EVENTS_AT_ONCE,
                               lingering_close_end_due(lingering_close));
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                stops = lingering_close_is_stopping(lingering_close);
            else
                handle_event(lingering_close, events[i].data.ptr);
        }
    }
    lingering_close_end_due(lingering_close);
    return NULL;
}

static bool lingering_close_start(struct lingering_close *lingering_close)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    lingering_close->epoll = epoll_create1(EPOLL_CLOEXEC);
    lingering_close->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    lingering_close->sink = bw_alloc(READ_SIZE);
    if (lingering_close->epoll < 0 || lingering_close->wake < 0 ||
        epoll_ctl(lingering_close->epoll, EPOLL_CTL_ADD, lingering_close->wake, &event) != 0)
        return false;
    int reason = pthread_create(&lingering_close->thread, NULL, lingering_close_run,
                                lingering_close);
    errno = reason;
    return reason == 0;
}

static void lingering_close_release(struct lingering_close *lingering_close)
{
    if (lingering_close->epoll >= 0)
        close(lingering_close->epoll);
    if (lingering_close->wake >= 0)
        close(lingering_close->wake);
    pthread_mutex_destroy(&lingering_close->mutex);
    free(lingering_close->sink);
    free(lingering_close);
}

enum bw_code lingering_close_open(size_t most, struct lingering_close **lingering_close,
                                  struct bw_error *error)
{
    struct lingering_close *self = bw_alloc(sizeof *self);
    pthread_mutex_init(&self->mutex, NULL);
    self->epoll = self->wake = -1;
    self->most = most;
    if (!lingering_close_start(self)) {
        enum bw_code code = bw_fail(error, BW_INTERNAL, "can't keep refused connections: %s",
                                    strerror(errno));
        lingering_close_release(self);
        return code;
    }
    *lingering_close = self;
    return BW_OK;
}

void lingering_close_close(struct lingering_close *lingering_close)
{
    if (lingering_close == NULL)
        return;
    pthread_mutex_lock(&lingering_close->mutex);
    lingering_close->is_stopping = true;
    pthread_mutex_unlock(&lingering_close->mutex);
    eventfd_write(lingering_close->wake, 1);
    pthread_join(lingering_close->thread, NULL);
    lingering_close_release(lingering_close);
}

/* The whole function runs under the mutex, so that the thread can't close a connection that is not
 * in the list yet. */
static void lingering_close_keep(struct lingering_close *lingering_close, int fd, uint64_t declared)
{
    if (lingering_close->count >= lingering_close->most || lingering_close->is_stopping)
        return;
    struct kept *kept = bw_alloc(sizeof *kept);
    kept->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    kept->deadline_ms = clock_boot_ms() + LINGER_MS;
    kept->left = declared > LINGER_BYTES && declared <= LINGER_BYTES_DECLARED ? (size_t)declared
                                                                              : LINGER_BYTES;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = kept};
    if (kept->fd < 0 || epoll_ctl(lingering_close->epoll, EPOLL_CTL_ADD, kept->fd, &event) != 0) {
        if (kept->fd >= 0)
            close(kept->fd);
        free(kept);
        return;
    }
    DL_APPEND(lingering_close->kept, kept);
    lingering_close->count++;
}

void lingering_close_take(struct lingering_close *lingering_close, int fd, uint64_t declared)
{
    pthread_mutex_lock(&lingering_close->mutex);
    lingering_close_keep(lingering_close, fd, declared);
    bool is_first = lingering_close->count == 1;
    pthread_mutex_unlock(&lingering_close->mutex);
    if (is_first)
        eventfd_write(lingering_close->wake, 1);
}
