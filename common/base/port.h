/*
 * port: checks that a port is free. Called before a server is started on the port, since the
 * server's own error is less precise, and before this process is visible from outside: a second
 * process with the ports of a running one must not be mistaken for it. Safe from any thread.
 */
#ifndef COMMON_BASE_PORT_H
#define COMMON_BASE_PORT_H

#include <stdint.h>

#include "common/base/error.h"

/* BW_OK: the port could be opened. BW_BAD_REQUEST: a sentence with `flag`, the port and the reason.
 */
enum bw_code port_check(const char *flag, const char *address, int64_t port, struct bw_error *error)
    BW_CHECKED;

/* The same sentence, for a reason (errno) from elsewhere. BW_BAD_REQUEST. */
enum bw_code port_refuse(const char *flag, const char *address, int64_t port, int reason,
                         struct bw_error *error);

#endif
