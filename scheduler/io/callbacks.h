/*
 * callbacks: HTTP posts to the replicas' internal ports, by one thread with libcurl multi over
 * kept-alive connections. Each callback comes back to the inbox as EVENT_CALLBACK, answered or not;
 * the rules decide about retries.
 */
#ifndef SCHEDULER_IO_CALLBACKS_H
#define SCHEDULER_IO_CALLBACKS_H

#include "common/base/error.h"
#include "scheduler/io/inbox.h"
#include "scheduler/state/callback.h"

struct callbacks;

/* Starts the thread. `token` is copied; `inbox` must outlive *callbacks. BW_INTERNAL: libcurl or
 * the thread could not be started. */
enum bw_code callbacks_open(const char *token, struct inbox *inbox, struct callbacks **callbacks,
                            struct bw_error *error) BW_CHECKED;

/* Waits for the callbacks in flight (bounded by their time-out), then ends the thread and frees
 * everything. NULL is allowed. */
void callbacks_close(struct callbacks *callbacks);

/* Posts a callback and takes it over; any thread. It comes back with EVENT_CALLBACK, which owns it.
 */
void callbacks_post(struct callbacks *callbacks, struct callback *callback);

#endif
