#include "api/http/disconnect_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <uthash.h>

#include "common/base/alloc.h"

enum { EVENTS_AT_ONCE = 64, NUMBER_OF_STOP = 0 };

struct watched {
    uint64_t number;
    struct exchange *exchange;
    void (*gone)(struct exchange *exchange, void *context);
    void *context;
    UT_hash_handle hh;
};

struct disconnect_watch {
    pthread_t thread;
    int epoll;
    int stop;              /* an eventfd */
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t called;
    struct watched *exchanges; /* by number */
    uint64_t calling;          /* the exchange whose `gone` is running; 0: none */
};

/* Removes the exchange from the table; the caller frees the entry. Under the mutex. */
static struct watched *disconnect_watch_take(struct disconnect_watch *watch, uint64_t number)
{
    struct watched *watched;
    HASH_FIND(hh, watch->exchanges, &number, sizeof number, watched);
    if (watched != NULL)
        HASH_DELETE(hh, watch->exchanges, watched);
    return watched;
}

/* Calls `gone` of this exchange. An event may be late: if its exchange has been answered, and the
 * connection has another one, the number is not found. */
static void disconnect_watch_call(struct disconnect_watch *watch, uint64_t number)
{
    pthread_mutex_lock(&watch->mutex);
    struct watched *watched = disconnect_watch_take(watch, number);
    if (watched != NULL)
        watch->calling = number;
    pthread_mutex_unlock(&watch->mutex);
    if (watched == NULL)
        return;
    watched->gone(watched->exchange, watched->context);
    free(watched);
    pthread_mutex_lock(&watch->mutex);
    watch->calling = 0;
    pthread_cond_broadcast(&watch->called);
    pthread_mutex_unlock(&watch->mutex);
}

static void *disconnect_watch_run(void *context)
{
    struct disconnect_watch *watch = context;
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        int count = epoll_wait(watch->epoll, events, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == NUMBER_OF_STOP)
                return NULL;
            disconnect_watch_call(watch, events[i].data.u64);
        }
    }
}

static bool disconnect_watch_start(struct disconnect_watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = NUMBER_OF_STOP};
    watch->epoll = epoll_create1(EPOLL_CLOEXEC);
    watch->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->epoll < 0 || watch->stop < 0 ||
        epoll_ctl(watch->epoll, EPOLL_CTL_ADD, watch->stop, &event) != 0)
        return false;
    int reason = pthread_create(&watch->thread, NULL, disconnect_watch_run, watch);
    errno = reason;
    return reason == 0;
}

static void disconnect_watch_release(struct disconnect_watch *watch)
{
    if (watch->epoll >= 0)
        close(watch->epoll);
    if (watch->stop >= 0)
        close(watch->stop);
    pthread_cond_destroy(&watch->called);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
}

enum bw_code disconnect_watch_open(struct disconnect_watch **watch, struct bw_error *error)
{
    struct disconnect_watch *self = bw_alloc(sizeof *self);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->called, NULL);
    self->epoll = self->stop = -1;
    if (!disconnect_watch_start(self)) {
        enum bw_code code = bw_fail(error, BW_INTERNAL, "can't watch connections: %s",
                                    strerror(errno));
        disconnect_watch_release(self);
        return code;
    }
    *watch = self;
    return BW_OK;
}

void disconnect_watch_close(struct disconnect_watch *watch)
{
    if (watch == NULL)
        return;
    eventfd_write(watch->stop, 1);
    pthread_join(watch->thread, NULL);
    disconnect_watch_release(watch);
}

void disconnect_watch_add(struct disconnect_watch *watch, uint64_t number, int fd,
                          struct exchange *exchange,
                          void (*gone)(struct exchange *exchange, void *context), void *context)
{
    struct watched *watched = bw_alloc(sizeof *watched);
    *watched = (struct watched){
        .number = number, .exchange = exchange, .gone = gone, .context = context};
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = number};
    pthread_mutex_lock(&watch->mutex);
    HASH_ADD(hh, watch->exchanges, number, sizeof watched->number, watched);
    pthread_mutex_unlock(&watch->mutex);
    /* A connection that was watched before is still in the set, until it is closed. */
    if (epoll_ctl(watch->epoll, EPOLL_CTL_MOD, fd, &event) != 0)
        epoll_ctl(watch->epoll, EPOLL_CTL_ADD, fd, &event);
}

void disconnect_watch_remove(struct disconnect_watch *watch, uint64_t number)
{
    pthread_mutex_lock(&watch->mutex);
    while (watch->calling == number && !pthread_equal(pthread_self(), watch->thread))
        pthread_cond_wait(&watch->called, &watch->mutex);
    struct watched *watched = disconnect_watch_take(watch, number);
    pthread_mutex_unlock(&watch->mutex);
    free(watched);
}
