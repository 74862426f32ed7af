/* options: the scheduler's flags, fixed at start. One table in options.c. */
#ifndef SCHEDULER_OPTIONS_H
#define SCHEDULER_OPTIONS_H

#include <stdint.h>

#include "common/base/error.h"

struct scheduler_options {
    const char *mongodb_uri, *mongodb_database;
    const char *internal_token; /* NULL: agreed upon in the database */
    const char *metrics_bind_address;
    int64_t metrics_port;
    int64_t heartbeat_interval_ms, job_timeout_ms, leader_lease_ms, grace_ms, retain_runs_ms,
        orphan_age_ms;
    int64_t max_attempts;
    int log_level, log_format; /* common/base/log.h */
};

/* Reads them; see config_read. */
enum bw_code scheduler_options_read(struct scheduler_options *options, int count, char **arguments,
                                    struct bw_error *error) BW_CHECKED;

#endif
