#include "common/domain/worker_fault.h"

enum bw_code worker_fault_check(const json_t *value, const char *path, const void *context,
                                struct bw_error *error)
{
    const char *text = json_string_value(value);
    (void)context;
    if (json_string_length(value) >= WORKER_FAULT_SIZE)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have %d bytes at most", path,
                       WORKER_FAULT_SIZE - 1);
    for (size_t i = 0; i < json_string_length(value); i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}
