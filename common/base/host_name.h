/*
 * host_name: what a header Host says of who asks. A web page whose name was rebound (DNS) to a
 * loopback address reaches ports that are bound there, and reads their answers; but its requests
 * name its own host, which is neither localhost nor a numeric address. No state; safe from any
 * thread.
 */
#ifndef COMMON_BASE_HOST_NAME_H
#define COMMON_BASE_HOST_NAME_H

#include <stdbool.h>

/* Is this numeric address a loopback one? False for any other text. */
bool address_is_loopback(const char *address);

/* Is HOST or HOST:PORT a name other than localhost? False for a numeric address (an IPv6 one in
 * brackets), for "" and for NULL, which no browser sends. */
bool host_is_foreign_name(const char *host);

#endif
