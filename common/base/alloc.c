#include "common/base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *alloc_checked(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

void *bw_alloc(size_t size)
{
    return bw_alloc_array(1, size);
}

void *bw_alloc_array(size_t count, size_t size)
{
    return alloc_checked(count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size));
}

void *bw_grow(void *memory, size_t count, size_t size)
{
    return alloc_checked(count == 0 || size == 0 ? realloc(memory, 1)
                                                 : reallocarray(memory, count, size));
}

char *bw_copy(const char *text)
{
    return alloc_checked(strdup(text));
}

char *bw_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return alloc_checked(length < 0 ? NULL : text);
}
