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

#include "common/base/clock.h"

enum {
    FAREWELL_MS = 3000,
    FAREWELL_BYTES = 1024 * 1024, /* read away of each; what comes after these is not read */
    FAREWELL_BYTES_ANNOUNCED = 16 * 1024 * 1024, /* the same of a client that has said how many */
    EVENTS_AT_ONCE = 64,
    READ_SIZE = 64 * 1024,
    READS_AT_ONCE = 16 /* then the others' turn */
};

struct kept {
    int fd;
    int64_t deadline_ms;
    size_t left; /* bytes that may still be read */
    struct kept *prev, *next;
};

struct farewell {
    pthread_t thread;
    int epoll;
    int wake;              /* an eventfd: a first one was taken, or stop */
    size_t most;           /* kept at a time */
    char *sink;            /* READ_SIZE bytes that nobody reads */
    pthread_mutex_t mutex; /* guards what follows */
    struct kept *kept;     /* by deadline */
    size_t count;
    bool is_stopping;
};

/* Only the thread ends one, so that it never meets one that is freed. It is taken out of the epoll
 * set by hand: closing does that only for the last of all duplicates. */
static void end(struct farewell *farewell, struct kept *kept)
{
    epoll_ctl(farewell->epoll, EPOLL_CTL_DEL, kept->fd, NULL);
    pthread_mutex_lock(&farewell->mutex);
    DL_DELETE(farewell->kept, kept);
    farewell->count--;
    pthread_mutex_unlock(&farewell->mutex);
    close(kept->fd);
    free(kept);
}

/* No more is read; the client still gets its answer, since no reset is sent before the deadline. */
static void stop_reading(struct farewell *farewell, struct kept *kept)
{
    struct epoll_event event = {.events = 0, .data.ptr = kept}; /* an error or both ends closed */
    epoll_ctl(farewell->epoll, EPOLL_CTL_MOD, kept->fd, &event);
}

static void read_away(struct farewell *farewell, struct kept *kept)
{
    for (int i = 0; i < READS_AT_ONCE && kept->left > 0; i++) {
        size_t most = kept->left < READ_SIZE ? kept->left : READ_SIZE;
        ssize_t length = recv(kept->fd, farewell->sink, most, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length <= 0) {
            end(farewell, kept);
            return;
        }
        kept->left -= (size_t)length;
    }
    if (kept->left == 0)
        stop_reading(farewell, kept);
}

/* With nothing left to read only a closed or broken connection is told of. */
static void handle_event(struct farewell *farewell, struct kept *kept)
{
    if (kept->left > 0)
        read_away(farewell, kept);
    else
        end(farewell, kept);
}

/* Ends those whose time is over. Returns how long to wait for the next one; negative: there is
 * none. */
static int end_due(struct farewell *farewell)
{
    for (;;) {
        pthread_mutex_lock(&farewell->mutex);
        struct kept *first = farewell->kept;
        bool is_stopping = farewell->is_stopping;
        pthread_mutex_unlock(&farewell->mutex);
        if (first == NULL)
            return -1;
        int64_t left_ms = first->deadline_ms - clock_boot_ms();
        if (left_ms > 0 && !is_stopping)
            return (int)left_ms;
        end(farewell, first);
    }
}

static bool is_stopping(struct farewell *farewell)
{
    eventfd_t ignored;
    eventfd_read(farewell->wake, &ignored);
    pthread_mutex_lock(&farewell->mutex);
    bool stops = farewell->is_stopping;
    pthread_mutex_unlock(&farewell->mutex);
    return stops;
}

static void *run(void *context)
{
    struct farewell *farewell = context;
    struct epoll_event events[EVENTS_AT_ONCE];
    bool stops = false;
    while (!stops) {
        int count = epoll_wait(farewell->epoll, events, EVENTS_AT_ONCE, end_due(farewell));
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL)
                stops = is_stopping(farewell);
            else
                handle_event(farewell, events[i].data.ptr);
        }
    }
    end_due(farewell);
    return NULL;
}

static bool start(struct farewell *farewell)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    farewell->epoll = epoll_create1(EPOLL_CLOEXEC);
    farewell->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    farewell->sink = malloc(READ_SIZE);
    if (farewell->epoll < 0 || farewell->wake < 0 || farewell->sink == NULL ||
        epoll_ctl(farewell->epoll, EPOLL_CTL_ADD, farewell->wake, &event) != 0)
        return false;
    int reason = pthread_create(&farewell->thread, NULL, run, farewell);
    errno = reason;
    return reason == 0;
}

static void release(struct farewell *farewell)
{
    if (farewell->epoll >= 0)
        close(farewell->epoll);
    if (farewell->wake >= 0)
        close(farewell->wake);
    pthread_mutex_destroy(&farewell->mutex);
    free(farewell->sink);
    free(farewell);
}

enum bw_code farewell_open(size_t most, struct farewell **farewell, struct bw_error *error)
{
    struct farewell *self = calloc(1, sizeof *self);
    if (self == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    pthread_mutex_init(&self->mutex, NULL);
    self->epoll = self->wake = -1;
    self->most = most;
    if (!start(self)) {
        enum bw_code code = bw_fail(error, BW_INTERNAL, "can't keep refused connections: %s",
                                    strerror(errno));
        release(self);
        return code;
    }
    *farewell = self;
    return BW_OK;
}

void farewell_close(struct farewell *farewell)
{
    if (farewell == NULL)
        return;
    pthread_mutex_lock(&farewell->mutex);
    farewell->is_stopping = true;
    pthread_mutex_unlock(&farewell->mutex);
    eventfd_write(farewell->wake, 1);
    pthread_join(farewell->thread, NULL);
    release(farewell);
}

/* Under the mutex as a whole: the thread can't end one that is not in the list yet. */
static void keep(struct farewell *farewell, int fd, uint64_t announced)
{
    struct kept *kept = farewell->count < farewell->most && !farewell->is_stopping
                            ? calloc(1, sizeof *kept)
                            : NULL;
    if (kept == NULL)
        return;
    kept->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    kept->deadline_ms = clock_boot_ms() + FAREWELL_MS;
    kept->left = announced > FAREWELL_BYTES && announced <= FAREWELL_BYTES_ANNOUNCED
                     ? (size_t)announced
                     : FAREWELL_BYTES;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = kept};
    if (kept->fd < 0 || epoll_ctl(farewell->epoll, EPOLL_CTL_ADD, kept->fd, &event) != 0) {
        if (kept->fd >= 0)
            close(kept->fd);
        free(kept);
        return;
    }
    DL_APPEND(farewell->kept, kept);
    farewell->count++;
}

void farewell_take(struct farewell *farewell, int fd, uint64_t announced)
{
    pthread_mutex_lock(&farewell->mutex);
    keep(farewell, fd, announced);
    bool is_first = farewell->count == 1;
    pthread_mutex_unlock(&farewell->mutex);
    if (is_first)
        eventfd_write(farewell->wake, 1);
}
