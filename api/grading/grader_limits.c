#include "api/grading/grader_limits.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/domain/job.h"

static void grader_limits_add(struct exchange *exchange, const char *header, int64_t bytes)
{
    char text[EXCHANGE_HEADER_SIZE];
    snprintf(text, sizeof text, "%" PRId64, bytes);
    exchange_add_header(exchange, header, text);
}

void grader_limits_write(const struct api_options *options, struct exchange *exchange)
{
    grader_limits_add(exchange, "Broadway-Max-Log-Bytes", options->max_log_bytes);
    grader_limits_add(exchange, "Broadway-Max-Result-Bytes", options->max_result_bytes);
    grader_limits_add(exchange, "Broadway-Max-Body-Bytes", options->max_body_bytes);
    exchange_add_header(exchange, "Broadway-Outcomes", owner_name(OWNER_INFRASTRUCTURE));
    exchange_add_header(exchange, "Broadway-Files", GRADER_FILES);
    exchange_add_header(exchange, "Broadway-Registration", "tags, digests, fault");
    exchange_add_header(exchange, "Broadway-Cancel", "true");
    exchange_add_header(exchange, "Broadway-Scores", "true");
    exchange_add_header(exchange, "Broadway-Logs", "chunks");
}
