/*
 * descriptors: how many connections the limit of open files leaves room for. For main's thread, at
 * the start; descriptors_lingering is pure.
 */
#ifndef API_HTTP_DESCRIPTORS_H
#define API_HTTP_DESCRIPTORS_H

#include <stddef.h>

#include "common/base/error.h"

enum {
    DESCRIPTORS_LEAST = 64,           /* connections: with fewer nothing is started */
    DESCRIPTORS_INTERNAL = 64,        /* connections of the internal port */
    DESCRIPTORS_LINGERING_LEAST = 16, /* connections of refused clients; see descriptors.c */
    DESCRIPTORS_LINGERING_MOST = 4096
};

/* How many connections of refused clients a port with so many connections keeps besides. */
size_t descriptors_lingering(size_t connections);

/* Raises the limit of open files as far as it may be, and lowers *connections, those of the public
 * port, to what it leaves besides `database` (database_descriptors) and all else. BW_BAD_REQUEST:
 * that is too little; the sentence says what is needed. */
enum bw_code descriptors_settle(size_t database, size_t *connections, struct bw_error *error)
    BW_CHECKED;

#endif
