/*
 * client_network: whose requests and connections are counted together: those of an IPv4 address, or
 * of the first half (/64) of an IPv6 address, since whoever has one IPv6 address has all of these.
 * All limits by address ask here. No state; safe from any thread.
 */
#ifndef API_HTTP_CLIENT_NETWORK_H
#define API_HTTP_CLIENT_NETWORK_H

#include <sys/socket.h>

enum { CLIENT_NETWORK_SIZE = 64 };

/* Of a numeric address: "192.0.2.1" stays, "2001:db8::7" becomes "2001:db8::/64", and an IPv4
 * address in the clothes of IPv6 ("::ffff:192.0.2.1") is that IPv4 address. Any other text stays,
 * cut at CLIENT_NETWORK_SIZE - 1. */
void client_network(const char *address, char network[CLIENT_NETWORK_SIZE]);

/* The same of a socket's address; "" if it is of another family. */
void client_network_of(const struct sockaddr *from, char network[CLIENT_NETWORK_SIZE]);

#endif
