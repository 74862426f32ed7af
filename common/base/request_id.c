#include "common/base/request_id.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { REQUEST_ID_PREFIX = 12 };

/* Counts all requests of the process, over all of its HTTP servers. */
static atomic_uint_fast64_t request_id_last;
static char request_id_process[REQUEST_ID_PREFIX + 1] = "0";

void request_id_open(const char *process)
{
    snprintf(request_id_process, sizeof request_id_process, "%s", process);
}

bool request_id_is_sound(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (text == NULL)
        return false;
    size_t length = strlen(text);
    return length > 0 && length < REQUEST_ID_SIZE && strspn(text, allowed) == length;
}

uint64_t request_id_number(void)
{
    return atomic_fetch_add(&request_id_last, 1) + 1;
}

void request_id_make(uint64_t number, char id[REQUEST_ID_SIZE])
{
    snprintf(id, REQUEST_ID_SIZE, "%s-%" PRIu64, request_id_process, number);
}
