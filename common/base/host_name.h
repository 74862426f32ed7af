/*
 * host_name: checks of the header Host against DNS rebinding. A web page whose name was rebound to
 * a loopback address reaches ports that are bound there, and can read their answers. Its requests
 * name its own host, which is neither localhost nor a numeric address. No state; safe from any
 * thread.
 */
#ifndef COMMON_BASE_HOST_NAME_H
#define COMMON_BASE_HOST_NAME_H

#include <stdbool.h>

/* Whether this is a numeric loopback address. False for any other text. */
bool address_is_loopback(const char *address);

/* Whether HOST or HOST:PORT is a name other than localhost. False for a numeric address (an IPv6
 * one in brackets), for "" and for NULL, which no browser sends. */
bool host_is_foreign_name(const char *host);

#endif
