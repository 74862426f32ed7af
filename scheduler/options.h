/* options: the scheduler's flags, fixed at startup. The table of flags is in options.c. */
#ifndef SCHEDULER_OPTIONS_H
#define SCHEDULER_OPTIONS_H

#include <stdint.h>

#include "common/base/error.h"

struct scheduler_options {
    const char *mongodb_uri, *mongodb_database;
    const char *internal_token; /* NULL: the one stored in the database */
    const char *metrics_bind_address;
    int64_t metrics_port;
    int64_t heartbeat_interval_ms, job_timeout_ms, leader_lease_ms, grace_ms, retain_runs_ms,
        orphan_age_ms, retain_audit_ms;
    const char *webhook_allow;               /* NULL: public addresses alone */
    int64_t webhook_retry_ms, no_workers_ms; /* no_workers_ms: until webhooks are told */
    int64_t max_attempts;
    const char *otlp_endpoint; /* NULL: spans are not exported */
    int log_level, log_format; /* common/base/log.h */
};

/* Reads the flags; arguments and return as in config_read. */
enum bw_code scheduler_options_read(struct scheduler_options *options, int count, char **arguments,
                                    struct bw_error *error) BW_CHECKED;

#endif
