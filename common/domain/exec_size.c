#include "common/domain/exec_size.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { WHERE_SIZE = 64 };

/* The size of a string of `length` bytes. */
static size_t exec_string_bytes(size_t length)
{
    return length + 1 + sizeof(char *);
}

size_t exec_entry_bytes(const char *name, size_t length)
{
    return exec_string_bytes(strlen(name) + sizeof "=" - 1 + length);
}

size_t exec_arguments_bytes(const json_t *arguments)
{
    size_t index, bytes = 0;
    json_t *argument;
    json_array_foreach (arguments, index, argument)
        bytes += exec_string_bytes(json_string_length(argument));
    return bytes;
}

enum bw_code exec_refuse(const char *pipeline, size_t stage, enum job_kind kind, size_t student,
                         size_t bytes, struct bw_error *error)
{
    char who[WHERE_SIZE] = "";
    if (kind == JOB_STUDENT)
        snprintf(who, sizeof who, ", student %zu", student);
    return bw_fail(
        error, BW_BAD_REQUEST,
        "%s[%zu]%s: the stage's arguments and environment take %zu bytes, with a NUL and "
        "a pointer for each; Linux starts no program with more than 2 MiB, of which "
        "%d bytes are left to the grader: the limit is %d",
        pipeline, stage, who, bytes, (int)EXEC_ROOM, (int)EXEC_TOTAL_MAX);
}
