/*
 * listener: a listening TCP socket at a numeric address. Callers: the HTTP server,
 * the scheduler's port, port_check. Safe from any thread.
 */
#ifndef COMMON_BASE_LISTENER_H
#define COMMON_BASE_LISTENER_H

#include <stdint.h>

#include "common/base/error.h"

/* Port 0: any free port. The caller owns *fd. BW_BAD_REQUEST: it can't be opened; BW_INTERNAL: the
 * address is invalid. */
enum bw_code listener_open(const char *address, uint16_t port, int *fd, struct bw_error *error)
    BW_CHECKED;

/* Its port; 0 if it is unknown. */
uint16_t listener_port(int fd);

#endif
