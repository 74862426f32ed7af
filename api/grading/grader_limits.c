#include "api/grading/grader_limits.h"

#include <inttypes.h>
#include <stdio.h>

void grader_limits_list(const struct api_options *options,
                        struct grader_limit limits[GRADER_LIMITS])
{
    static const char *const headers[GRADER_LIMITS] = {
        "Broadway-Max-Log-Bytes", "Broadway-Max-Result-Bytes", "Broadway-Max-Body-Bytes"};
    const int64_t bytes[GRADER_LIMITS] = {options->max_log_bytes, options->max_result_bytes,
                                          options->max_body_bytes};
    for (int i = 0; i < GRADER_LIMITS; i++) {
        limits[i].header = headers[i];
        snprintf(limits[i].bytes, sizeof limits[i].bytes, "%" PRId64, bytes[i]);
    }
}
