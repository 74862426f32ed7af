/*
 * client_network: groups client addresses whose requests and connections are counted together: an
 * IPv4 address alone, an IPv6 address with its /64, since a client with one IPv6 address usually
 * has all of them. All limits by address use these groups. No state; safe from any thread.
 */
#ifndef API_HTTP_CLIENT_NETWORK_H
#define API_HTTP_CLIENT_NETWORK_H

#include <sys/socket.h>

enum { CLIENT_NETWORK_SIZE = 64 };

/* Writes the group of a numeric address: "192.0.2.1" is unchanged, "2001:db8::7" becomes
 * "2001:db8::/64", and an IPv4-mapped IPv6 address ("::ffff:192.0.2.1") becomes the IPv4 address.
 * Any other text is copied, cut at CLIENT_NETWORK_SIZE - 1 bytes. */
void client_network(const char *address, char network[CLIENT_NETWORK_SIZE]);

/* The same for a socket's address; "": another address family. */
void client_network_of(const struct sockaddr *from, char network[CLIENT_NETWORK_SIZE]);

#endif
