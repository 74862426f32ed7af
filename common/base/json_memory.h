/*
 * json_memory: jansson's memory. Without memory the process aborts, as with bw_alloc: otherwise a
 * value that jansson could not allocate would be missing from a list or an object without an error.
 */
#ifndef COMMON_BASE_JSON_MEMORY_H
#define COMMON_BASE_JSON_MEMORY_H

#include <stddef.h>

/* Makes jansson allocate with json_memory_allocate and free with free; the result of json_dumps is
 * still freed with free. Called once, by main, before any other thread. */
void json_memory_install(void);

/* malloc that never returns NULL: the process ends by SIGABRT. Any thread. */
void *json_memory_allocate(size_t size);

#endif
