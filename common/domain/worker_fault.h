/*
 * worker_fault: the sentence by which a grader says why it can't run jobs, such as "engine: docker
 * does not answer". It is stored with the worker and listed; "" says that there is no fault. Pure;
 * safe from any thread.
 */
#ifndef COMMON_DOMAIN_WORKER_FAULT_H
#define COMMON_DOMAIN_WORKER_FAULT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { WORKER_FAULT_SIZE = 257 };

/* The graders of a protocol that are alive, but have a fault. */
struct faulty_workers {
    uint32_t count;
    char fault[WORKER_FAULT_SIZE]; /* of one of them; "": there are none */
};

/* Checks the argument `path` (a json_field's check): fewer than WORKER_FAULT_SIZE bytes of UTF-8
 * without control characters; may be empty. `value` is a string, borrowed; `context` is not used.
 * BW_BAD_REQUEST: a sentence. */
enum bw_code worker_fault_check(const json_t *value, const char *path, const void *context,
                                struct bw_error *error) BW_CHECKED;

#endif
