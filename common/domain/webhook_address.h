/*
 * webhook_address: to which addresses webhooks may be sent: to public ones, and to those that the
 * operator allows. A name is decided by the address that it resolves to, just before the connection
 * is made. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_WEBHOOK_ADDRESS_H
#define COMMON_DOMAIN_WEBHOOK_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/error.h"

struct webhook_allow_list;

/* Reads a list of networks (10.1.0.0/16, fd00::/8, 127.0.0.1) and host names, separated by commas;
 * NULL: an empty one. *list is new. BW_BAD_REQUEST with a sentence. */
enum bw_code webhook_allow_list_new(const char *text, struct webhook_allow_list **list,
                                    struct bw_error *error) BW_CHECKED;
void webhook_allow_list_free(struct webhook_allow_list *list); /* NULL is allowed */

/* Whether a connection to that address may be made, for a URL with that host. */
bool webhook_address_is_allowed(const struct webhook_allow_list *list, const char *host,
                                const struct sockaddr *address);

#endif
