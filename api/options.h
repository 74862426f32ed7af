/* options: the API's flags, fixed at start. One table in options.c. */
#ifndef API_OPTIONS_H
#define API_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"

struct api_options {
    const char *mongodb_uri, *mongodb_database;
    const char *bind_address, *internal_bind_address;
    int64_t port, internal_port;
    const char *internal_url;   /* what this replica announces; never NULL once read */
    const char *internal_token; /* NULL: agreed upon in the database */
    const char *cluster_token;  /* NULL: made at first start */
    const char *client_token;   /* NULL: none */
    const char *course_config;  /* path; NULL: the stored courses stay */
    const char *cors_origin;
    int64_t course_poll_wait_ms;
    const char *second_internal_token, *second_cluster_token,
        *second_client_token; /* valid besides, while one replaces the other; NULL: none */
    bool anonymous_clients, allow_privileged;
    const char *allowed_hosts; /* comma list for open client endpoints; NULL: none */
    int64_t heartbeat_interval_ms, poll_wait_ms, grace_ms;
    int64_t max_job_bytes, max_run_bytes; /* common/domain/job_size.h */
    int64_t max_body_bytes, max_result_bytes, max_log_bytes, max_connections, request_timeout_ms,
        max_connections_per_address; /* 0: half of those that are not known to be of anybody */
    int log_level, log_format;       /* common/base/log.h */
    char own_internal_url[128]; /* where internal_url points if it was not given: so this is not to
                                   be copied */
};

/* What a grading run may contain, by the flags. */
struct definition_limits api_options_limits(const struct api_options *options);

/* Reads them; see config_read. */
enum bw_code api_options_read(struct api_options *options, int count, char **arguments,
                              struct bw_error *error) BW_CHECKED;

#endif
