#include "api/http/acceptor.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum { ACCEPTOR_PAUSE_MS = 100, ACCEPTOR_AT_ONCE = 64, ACCEPTOR_LOG_EVERY_MS = 10000 };

struct acceptor {
    struct acceptor_settings settings;
    pthread_t thread;
    int stop; /* an eventfd */
    atomic_bool is_stopping;
    int64_t logged_ms;
};

/* Logs why accepting paused, but not every time: it may pause ten times a second. */
static void acceptor_log(struct acceptor *acceptor, int reason)
{
    int64_t now_ms = clock_boot_ms();
    if (acceptor->logged_ms != 0 && now_ms - acceptor->logged_ms < ACCEPTOR_LOG_EVERY_MS)
        return;
    acceptor->logged_ms = now_ms;
    log_error("new connections can't be accepted", log_text("server", acceptor->settings.name),
              log_text("reason", strerror(reason)),
              log_number("open", (int64_t)connection_table_open(acceptor->settings.table)));
}

static void acceptor_pause(struct acceptor *acceptor, int reason)
{
    struct connection_table *table = acceptor->settings.table;
    acceptor_log(acceptor, reason);
    connection_table_evict(table);
    connection_table_wait(table, true, ACCEPTOR_PAUSE_MS);
}

/* Accepts one connection. False: there is none now. */
static bool acceptor_take(struct acceptor *acceptor)
{
    const struct acceptor_settings *settings = &acceptor->settings;
    struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
    struct sockaddr *address = (struct sockaddr *)&from;
    socklen_t length = sizeof from;
    int fd = accept4(settings->listener, address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            acceptor_pause(acceptor, errno);
        return errno == EINTR || errno == ECONNABORTED;
    }
    if (connection_table_add(settings->table, fd, address) != NULL)
        settings->take(fd, address, length, settings->context);
    else
        close(fd);
    return true;
}

static void *acceptor_run(void *context)
{
    struct acceptor *acceptor = context;
    struct pollfd watched[] = {{.fd = acceptor->settings.listener, .events = POLLIN},
                               {.fd = acceptor->stop, .events = POLLIN}};
    while (!atomic_load(&acceptor->is_stopping)) {
        poll(watched, sizeof watched / sizeof *watched, -1);
        for (int i = 0; i < ACCEPTOR_AT_ONCE && !atomic_load(&acceptor->is_stopping); i++) {
            connection_table_wait(acceptor->settings.table, false, ACCEPTOR_PAUSE_MS);
            if (!acceptor_take(acceptor))
                break;
        }
    }
    return NULL;
}

enum bw_code acceptor_open(const struct acceptor_settings *settings, struct acceptor **acceptor,
                           struct bw_error *error)
{
    struct acceptor *self = bw_alloc(sizeof *self);
    self->settings = *settings;
    self->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int reason = self->stop >= 0 ? pthread_create(&self->thread, NULL, acceptor_run, self) : errno;
    if (reason != 0) {
        if (self->stop >= 0)
            close(self->stop);
        free(self);
        return bw_fail(error, BW_INTERNAL, "can't accept connections: %s", strerror(reason));
    }
    *acceptor = self;
    return BW_OK;
}

void acceptor_close(struct acceptor *acceptor)
{
    if (acceptor == NULL)
        return;
    atomic_store(&acceptor->is_stopping, true);
    eventfd_write(acceptor->stop, 1);
    pthread_join(acceptor->thread, NULL);
    close(acceptor->settings.listener);
    close(acceptor->stop);
    free(acceptor);
}
