/*
 * host_check: checks whether an open client endpoint serves a request, by its headers Host and
 * Origin. A web page can send requests to any Broadway that its reader can reach, and by rebinding
 * its own name (DNS rebinding) it can read the answers; but it can't choose the headers Host and
 * Origin.
 *
 * Served are localhost, the loopback addresses 127.0.0.1 and ::1, the local address of the
 * connection, and the names in `allowed`: a comma-separated list, or NULL. The local address may be
 * any of this machine's: a page's name can be rebound to it, but the page then still sends its
 * name, not the address. Names are case-insensitive. No state; safe from any thread.
 */
#ifndef API_HTTP_HOST_CHECK_H
#define API_HTTP_HOST_CHECK_H

#include <stdbool.h>

#include "common/base/error.h"

/* Whether the value of a header Host, with or without a port, is served. `local`: the numeric local
 * address of the connection; "": unknown. */
bool host_is_served(const char *host, const char *allowed, const char *local);

/* The same for the value of a header Origin. "null" is not served. */
bool origin_is_served(const char *origin, const char *allowed, const char *local);

/* Checks the list of --allowed-host. BW_BAD_REQUEST with a sentence. */
enum bw_code host_list_check(const char *allowed, struct bw_error *error) BW_CHECKED;

#endif
