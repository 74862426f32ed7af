/*
 * descriptors: the limit of open files, and the number of connections that it allows. For main's
 * thread, at startup.
 */
#ifndef COMMON_BASE_DESCRIPTORS_H
#define COMMON_BASE_DESCRIPTORS_H

#include <stddef.h>

#include "common/base/error.h"

/* Raises the soft limit of open files to the hard one, and returns it; SIZE_MAX: there is none. */
size_t descriptors_raise(void);

/* BW_BAD_REQUEST: the sentence says that the limit is less than `needed`, of which `connections`
 * are for connections and `database` for the database's. */
enum bw_code descriptors_refuse(size_t limit, size_t needed, size_t connections, size_t database,
                                struct bw_error *error) BW_CHECKED;

#endif
