#include "api/websocket/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "api/websocket/connection_internal.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum { EVENTS = 256, SWEEP_MS = 500, SHUT_WAIT_MS = 3000, BARRIER_ROUNDS = 20 };

/* A function that was posted. */
struct posted {
    void (*function)(void *argument);
    void *argument;
    bool reads_first;
    struct posted *next;
};

static void *sockets_allocate(size_t size)
{
    void *memory = bw_alloc(size);
    return memory;
}

/* ---- From other threads ---- */

static void sockets_wake(struct sockets *sockets)
{
    uint64_t one = 1;
    (void)!write(sockets->wake_fd, &one, sizeof one);
}

void sockets_post(struct sockets *sockets, bool reads_first, void (*function)(void *argument),
                  void *argument)
{
    struct posted *posted = sockets_allocate(sizeof *posted);
    *posted = (struct posted){function, argument, reads_first, NULL};
    pthread_mutex_lock(&sockets->mutex);
    *sockets->tail = posted;
    sockets->tail = &posted->next;
    pthread_mutex_unlock(&sockets->mutex);
    sockets_wake(sockets);
}

static void register_socket(void *argument)
{
    struct socket *socket = argument;
    socket_begin(socket);
}

void sockets_take(struct sockets *sockets, const struct socket_offer *offer)
{
    struct socket *socket = socket_new(sockets, offer);
    atomic_fetch_add(&sockets->count, 1);
    sockets_post(sockets, false, register_socket, socket);
}

size_t sockets_count(struct sockets *sockets)
{
    return atomic_load(&sockets->count);
}

/* ---- The loop ---- */

static struct posted *socket_server_take_posted(struct sockets *sockets)
{
    pthread_mutex_lock(&sockets->mutex);
    struct posted *posted = sockets->head;
    sockets->head = NULL;
    sockets->tail = &sockets->head;
    pthread_mutex_unlock(&sockets->mutex);
    return posted;
}

/* Waits at most `wait_ms` for events, and handles them. Returns their number. */
static int handle_ready(struct sockets *sockets, int wait_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(sockets->epoll_fd, events, EVENTS, wait_ms);
    for (int i = 0; i < count; i++) {
        uint64_t ignored;
        if (events[i].data.ptr == NULL)
            (void)!read(sockets->wake_fd, &ignored, sizeof ignored);
        else
            socket_ready(events[i].data.ptr, events[i].events);
    }
    return count;
}

static void run_posted(struct sockets *sockets)
{
    struct posted *posted = socket_server_take_posted(sockets);
    bool has_read = false;
    while (posted != NULL) {
        struct posted *following = posted->next;
        for (int round = 0; posted->reads_first && !has_read && round < BARRIER_ROUNDS; round++)
            if (handle_ready(sockets, 0) <= 0)
                break;
        has_read = has_read || posted->reads_first;
        posted->function(posted->argument);
        free(posted);
        posted = following;
    }
}

static void sockets_reap(struct sockets *sockets)
{
    while (sockets->dead != NULL) {
        struct socket *socket = sockets->dead;
        sockets->dead = socket->next_dead;
        socket_free(socket);
        atomic_fetch_sub(&sockets->count, 1);
    }
}

static void socket_server_sweep(struct sockets *sockets)
{
    struct socket *socket, *following;
    int64_t now_ms = clock_boot_ms();
    if (now_ms - sockets->swept_ms < SWEEP_MS)
        return;
    sockets->swept_ms = now_ms;
    HASH_ITER (hh, sockets->sockets, socket, following)
        socket_sweep(socket, now_ms);
}

static void *socket_server_run(void *context)
{
    struct sockets *sockets = context;
    while (!atomic_load(&sockets->is_over)) {
        handle_ready(sockets, SWEEP_MS);
        run_posted(sockets);
        socket_server_sweep(sockets);
        sockets_reap(sockets);
    }
    run_posted(sockets);
    sockets_reap(sockets);
    return NULL;
}

struct socket *sockets_find(struct sockets *sockets, uint64_t number)
{
    struct socket *socket;
    HASH_FIND(hh, sockets->sockets, &number, sizeof number, socket);
    return socket != NULL && !socket->has_ended ? socket : NULL;
}

/* ---- Opening and closing ---- */

static enum bw_code socket_server_start(struct sockets *sockets, struct bw_error *error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    sockets->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sockets->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (sockets->epoll_fd < 0 || sockets->wake_fd < 0 ||
        epoll_ctl(sockets->epoll_fd, EPOLL_CTL_ADD, sockets->wake_fd, &event) != 0)
        return bw_fail(error, BW_INTERNAL, "no descriptors for the websockets");
    if (pthread_create(&sockets->thread, NULL, socket_server_run, sockets) != 0)
        return bw_fail(error, BW_INTERNAL, "the thread of the websockets can't be started");
    return BW_OK;
}

static void socket_server_release(struct sockets *sockets)
{
    if (sockets->epoll_fd >= 0)
        close(sockets->epoll_fd);
    if (sockets->wake_fd >= 0)
        close(sockets->wake_fd);
    pthread_mutex_destroy(&sockets->mutex);
    free(sockets);
}

enum bw_code sockets_open(const struct sockets_settings *settings, struct sockets **sockets,
                          struct bw_error *error)
{
    struct sockets *opened = sockets_allocate(sizeof *opened);
    opened->settings = *settings;
    opened->tail = &opened->head;
    opened->epoll_fd = opened->wake_fd = -1;
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = socket_server_start(opened, error);
    if (code != BW_OK) {
        socket_server_release(opened);
        return code;
    }
    *sockets = opened;
    return BW_OK;
}

/* Closes all sockets. On the loop's thread. */
static void sockets_close_all(void *argument)
{
    struct sockets *sockets = argument;
    struct socket *socket, *following;
    sockets->is_shut = true;
    HASH_ITER (hh, sockets->sockets, socket, following)
        socket_close(socket, SOCKET_GOING_AWAY, "this server is stopping");
}

static void sockets_drop_all(void *argument)
{
    struct sockets *sockets = argument;
    struct socket *socket, *following;
    HASH_ITER (hh, sockets->sockets, socket, following)
        socket_drop(socket);
}

/* Waits at most `wait_ms` until no socket is left. False: some are left. */
static bool socket_server_wait_for_none(struct sockets *sockets, int64_t wait_ms)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    int64_t end_ms = clock_boot_ms() + wait_ms;
    while (sockets_count(sockets) > 0 && clock_boot_ms() < end_ms)
        nanosleep(&pause, NULL);
    return sockets_count(sockets) == 0;
}

void sockets_shut(struct sockets *sockets)
{
    sockets_post(sockets, false, sockets_close_all, sockets);
}

static void sockets_empty(struct sockets *sockets)
{
    sockets_shut(sockets);
    if (socket_server_wait_for_none(sockets, SHUT_WAIT_MS))
        return;
    log_warning("websockets did not close in time",
                log_number("sockets", (int64_t)sockets_count(sockets)));
    sockets_post(sockets, false, sockets_drop_all, sockets);
    socket_server_wait_for_none(sockets, SHUT_WAIT_MS);
}

void sockets_close(struct sockets *sockets)
{
    if (sockets == NULL)
        return;
    sockets_empty(sockets);
    atomic_store(&sockets->is_over, true);
    sockets_wake(sockets);
    pthread_join(sockets->thread, NULL);
    socket_server_release(sockets);
}
