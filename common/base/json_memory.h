/*
 * json_memory: jansson's memory. Where none is left the process aborts, as it does after each
 * calloc of its own: a value that jansson could not make would otherwise be missing from a list or
 * an object without a word.
 */
#ifndef COMMON_BASE_JSON_MEMORY_H
#define COMMON_BASE_JSON_MEMORY_H

#include <stddef.h>

/* Makes jansson take its memory from json_memory_allocate and give it back with free: what
 * json_dumps returns is still freed with free. Once, by main, before any other thread. */
void json_memory_settle(void);

/* malloc that never returns NULL: the process ends by SIGABRT. Any thread. */
void *json_memory_allocate(size_t size);

#endif
