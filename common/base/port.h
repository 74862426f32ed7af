/*
 * port: is a port free? Asked before a server is started there, which could not say as well what is
 * wrong, and before anything of this process can be seen from outside: a second process with the
 * ports of one that runs must not pass for that one. Safe from any thread.
 */
#ifndef COMMON_BASE_PORT_H
#define COMMON_BASE_PORT_H

#include <stdint.h>

#include "common/base/error.h"

/* BW_OK: it could be opened a moment ago. BW_BAD_REQUEST: a sentence with `flag`, the port and the
 * reason. */
enum bw_code port_check(const char *flag, const char *address, int64_t port, struct bw_error *error)
    BW_CHECKED;

/* That sentence, for a reason (errno) that was found elsewhere. BW_BAD_REQUEST. */
enum bw_code port_refuse(const char *flag, const char *address, int64_t port, int reason,
                         struct bw_error *error);

#endif
