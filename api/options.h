/* options: the API's flags, fixed at start. options.c has one table of them. Callers: main,
 * service; no state. */
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
    const char *internal_url; /* the URL that this replica registers for callbacks; never NULL after
                                 api_options_read */
    const char *internal_token; /* NULL: one is created and stored in the database */
    const char *cluster_token;  /* NULL: one is created at the first start */
    const char *client_token;   /* NULL: none */
    const char *course_config;  /* path; NULL: the stored courses stay */
    const char *receipt_key;    /* path; NULL: the stored key */
    const char *cors_origin;
    int64_t course_poll_wait_ms;
    const char *second_internal_token, *second_cluster_token,
        *second_client_token; /* a second valid token each, during a replacement; NULL: none */
    bool anonymous_clients, allow_privileged;
    const char *allowed_hosts; /* comma-separated, for open endpoints; NULL: none */
    int64_t heartbeat_interval_ms, poll_wait_ms, grace_ms;
    int64_t max_job_bytes, max_run_bytes; /* common/domain/job_size.h */
    int64_t max_file_bytes, max_job_files_bytes;
    int64_t max_body_bytes, max_result_bytes, max_log_bytes, max_connections, request_timeout_ms,
        max_connections_per_address; /* limit of unproven connections of one address; 0: half of all
                                        unproven ones */
    const char *otlp_endpoint;       /* NULL: spans are not exported */
    int log_level, log_format;       /* common/base/log.h */
    char own_internal_url[128]; /* storage of internal_url if that was not given, so the struct must
                                   not be copied */
};

/* What a grading run may contain, by the flags. */
struct submission_limits api_options_limits(const struct api_options *options);

/* The heartbeat interval in whole seconds, as graders receive it: rounded up, at least 1. */
int64_t api_options_heartbeat_s(const struct api_options *options);

/* Reads the options from flags, environment and secret files (config_read), and checks them. Their
 * text lives as long as the process, as `arguments` must. BW_BAD_REQUEST with a sentence that names
 * the flag. */
enum bw_code api_options_read(struct api_options *options, int count, char **arguments,
                              struct bw_error *error) BW_CHECKED;

#endif
