/*
 * host_check: does a request come from a page, or to a name, that an open client endpoint serves?
 * A web page can send requests to a Broadway that its reader can reach, and by rebinding its own
 * name (DNS) it can read the answers; what it can't do is to choose the headers Host and Origin.
 *
 * Served are localhost, the loopback addresses 127.0.0.1 and ::1, the address that the connection
 * came to, and the names in `allowed`: a comma list, NULL if there is none. That address may be any
 * of this machine's: a page's name can be rebound to it, but the page still says its name, not the
 * number. Upper and lower case are the same. No state; safe from any thread.
 */
#ifndef API_HTTP_HOST_CHECK_H
#define API_HTTP_HOST_CHECK_H

#include <stdbool.h>

#include "common/base/error.h"

/* Is the value of a header Host, with or without a port, one of these? `local`: the numeric address
 * that the connection came to; "" if it is not known. */
bool host_is_served(const char *host, const char *allowed, const char *local);

/* The same for the value of a header Origin: "null" is not. */
bool origin_is_served(const char *origin, const char *allowed, const char *local);

/* Can this be the list of --allowed-host? BW_BAD_REQUEST with a sentence. */
enum bw_code host_list_check(const char *allowed, struct bw_error *error) BW_CHECKED;

#endif
