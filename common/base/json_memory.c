#include "common/base/alloc.h"
#include "common/base/json_memory.h"

#include <jansson.h>
#include <stdlib.h>

void *json_memory_allocate(size_t size)
{
    void *memory = bw_alloc(size);
    return memory;
}

void json_memory_install(void)
{
    json_set_alloc_funcs(json_memory_allocate, free);
}
