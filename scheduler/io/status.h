/*
 * status: the scheduler's /metrics, /healthz and /readyz, on a port of their own (status_server).
 * status_set_ready may be called from any thread.
 */
#ifndef SCHEDULER_IO_STATUS_H
#define SCHEDULER_IO_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/metrics.h"

struct status;

/* Starts the server, with at most `connections` at a time (STATUS_CONNECTIONS or fewer). `metrics`
 * must outlive it. BW_BAD_REQUEST: the address can't be used. */
enum bw_code status_open(const char *address, uint16_t port, size_t connections,
                         const struct metrics *metrics, struct status **status,
                         struct bw_error *error) BW_CHECKED;
void status_close(struct status *status); /* NULL is allowed */

/* Sets the answer of /readyz: 200 or 503, with the JSON text `json`, which the status owns from
 * then on. */
void status_set_ready(struct status *status, bool is_ready, char *json);

#endif
