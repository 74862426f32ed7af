#include "api/options.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "api/http/host_check.h"
#include "api/metrics.h"
#include "common/base/config.h"
#include "common/base/log.h"

#define AT(member) offsetof(struct api_options, member)

enum { MIB = 1024 * 1024, URL_MAX = 120 };

static const char *const uri_beginnings[] = {"mongodb://", "mongodb+srv://", NULL};
static const char *const url_beginnings[] = {"http://", "https://", NULL};

static const struct config_option table[] = {
    {"mongodb-uri", CONFIG_SECRET, AT(mongodb_uri), "mongodb://127.0.0.1:27017/?replicaSet=rs0", 0,
     0, uri_beginnings, "URI", "The database: a replica set"},
    {"mongodb-database", CONFIG_NAME, AT(mongodb_database), "broadway", 0, 0, NULL, "NAME",
     "Name of the database"},
    {"bind-address", CONFIG_ADDRESS, AT(bind_address), "127.0.0.1", 0, 0, NULL, "ADDRESS",
     "Address of the public API"},
    {"port", CONFIG_INTEGER, AT(port), "1470", 1, 65535, NULL, "PORT", "Port of the public API"},
    {"internal-bind-address", CONFIG_ADDRESS, AT(internal_bind_address), "127.0.0.1", 0, 0, NULL,
     "ADDRESS", "Address for the scheduler's callbacks, /healthz, /readyz and /metrics"},
    {"internal-port", CONFIG_INTEGER, AT(internal_port), "1471", 1, 65535, NULL, "PORT",
     "Port for the scheduler's callbacks, /healthz, /readyz and /metrics"},
    {"internal-url", CONFIG_TEXT, AT(internal_url), NULL, 0, 0, url_beginnings, "URL",
     "URL that the scheduler calls; without it http://INTERNAL-BIND-ADDRESS:INTERNAL-PORT"},
    {"internal-token", CONFIG_SECRET, AT(internal_token), NULL, 0, 0, NULL, "TOKEN",
     "Token of callbacks; without it one is created and stored in the database, for one machine"},
    {"cluster-token", CONFIG_SECRET, AT(cluster_token), NULL, 0, 0, NULL, "TOKEN",
     "Token with which graders register; without it one is created at the first start, and printed once"},
    {"client-token", CONFIG_SECRET, AT(client_token), NULL, 0, 0, NULL, "TOKEN",
     "Token of clients, required when the public port is not bound to loopback"},
    {"second-internal-token", CONFIG_SECRET, AT(second_internal_token), NULL, 0, 0, NULL, "TOKEN",
     "A second valid token beside --internal-token, for replacing it"},
    {"second-cluster-token", CONFIG_SECRET, AT(second_cluster_token), NULL, 0, 0, NULL, "TOKEN",
     "A second valid token beside --cluster-token, for replacing it"},
    {"second-client-token", CONFIG_SECRET, AT(second_client_token), NULL, 0, 0, NULL, "TOKEN",
     "A second valid token beside --client-token, for replacing it"},
    {"anonymous-clients", CONFIG_SWITCH, AT(anonymous_clients), "false", 0, 0, NULL, NULL,
     "Serves clients without a token on any address"},
    {"allowed-host", CONFIG_TEXT, AT(allowed_hosts), NULL, 0, 0, NULL, "NAMES",
     "Host names, separated by commas, that clients without a token may use beside localhost and "
     "the server's addresses; web pages of these hosts are allowed too"},
    {"allow-privileged", CONFIG_SWITCH, AT(allow_privileged), "false", 0, 0, NULL, NULL,
     "Allows privileged containers in stages"},
    {"heartbeat-interval", CONFIG_MILLISECONDS, AT(heartbeat_interval_ms), "10", 0.05, 3600, NULL,
     "SECONDS", "Interval of graders' heartbeats; must equal the scheduler's"},
    {"poll-wait", CONFIG_MILLISECONDS, AT(poll_wait_ms), "18", 0, 60, NULL, "SECONDS",
     "How long a poll waits for a job, in the classic protocol"},
    {"course-poll-wait", CONFIG_MILLISECONDS, AT(course_poll_wait_ms), "2", 0, 60, NULL, "SECONDS",
     "How long a poll waits for a job, in the course protocol"},
    {"course-config", CONFIG_TEXT, AT(course_config), NULL, 0, 0, NULL, "FILE",
     "Courses and their tokens, as JSON; replaces the stored ones; SIGHUP reloads it"},
    {"receipt-key", CONFIG_TEXT, AT(receipt_key), NULL, 0, 0, NULL, "FILE",
     "Private key (Ed25519, PEM) that signs receipts, the same for all replicas; without it one is "
     "created and stored in the database"},
    {"cors-origin", CONFIG_TEXT, AT(cors_origin), "*", 0, 0, NULL, "ORIGIN",
     "Origin of web pages that may use the course protocol: * or one origin"},
    {"max-body-bytes", CONFIG_INTEGER, AT(max_body_bytes), "16777216", 1024, 256 * MIB, NULL,
     "BYTES", "Limit of a request's body"},
    {"max-file-bytes", CONFIG_INTEGER, AT(max_file_bytes), "67108864", 1024, 1024 * MIB, NULL,
     "BYTES", "Limit of a file of a run or a job"},
    {"max-job-files-bytes", CONFIG_INTEGER, AT(max_job_files_bytes), "268435456", 1024, 1e12, NULL,
     "BYTES", "Limit of all files together that a job is handed out with"},
    {"max-job-bytes", CONFIG_INTEGER, AT(max_job_bytes), "2097152", 1024, 2 * MIB, NULL, "BYTES",
     "Limit of a job of a run: its stages with their expanded environments as JSON"},
    {"max-run-bytes", CONFIG_INTEGER, AT(max_run_bytes), "536870912", MIB, 1e12, NULL, "BYTES",
     "Limit of all jobs of a run together"},
    {"max-result-bytes", CONFIG_INTEGER, AT(max_result_bytes), "4194304", 1024, 12 * MIB, NULL,
     "BYTES", "Limit of a job's result; longer ones are cut"},
    {"max-log-bytes", CONFIG_INTEGER, AT(max_log_bytes), "4194304", 1024, 7 * MIB, NULL, "BYTES",
     "Limit of a job's stdout, and of its stderr; longer ones are cut"},
    {"max-connections", CONFIG_INTEGER, AT(max_connections), "32768", 256, 1000000, NULL, "N",
     "Limit of open connections; at most three quarters of them for waiting polls"},
    {"max-connections-per-address", CONFIG_INTEGER, AT(max_connections_per_address), "0", 0,
     1000000, NULL, "N",
     "Limit of connections from one address without a known worker or token; 0: three eighths"},
    {"request-timeout", CONFIG_MILLISECONDS, AT(request_timeout_ms), "30", 1, 600, NULL, "SECONDS",
     "Time to send a request's headers, and its body, plus a second per KiB of the body"},
    {"grace", CONFIG_MILLISECONDS, AT(grace_ms), "10", 0, 600, NULL, "SECONDS",
     "Grace period for requests in flight after SIGTERM"},
    {"otlp-endpoint", CONFIG_TEXT, AT(otlp_endpoint), NULL, 0, 0, url_beginnings, "URL",
     "A collector of traces, by OTLP over HTTP: spans are posted to URL/v1/traces"},
    {"log-level", CONFIG_CHOICE, AT(log_level), "info", 0, 0, log_level_names, "LEVEL",
     "debug, info, warning or error"},
    {"log-format", CONFIG_CHOICE, AT(log_format), "text", 0, 0, log_format_names, "FORMAT",
     "text or json"},
};

/* Derives the internal URL, unless it was given. It is also this replica's id, and the prefix of
 * the URLs that the scheduler calls. */
static enum bw_code derive_internal_url(struct api_options *options, struct bw_error *error)
{
    if (options->internal_url == NULL) {
        bool is_ipv6 = strchr(options->internal_bind_address, ':') != NULL;
        snprintf(options->own_internal_url, sizeof options->own_internal_url,
                 is_ipv6 ? "http://[%s]:%d" : "http://%s:%d", options->internal_bind_address,
                 (int)options->internal_port);
        options->internal_url = options->own_internal_url;
    }
    size_t length = strlen(options->internal_url);
    if (length > URL_MAX || options->internal_url[length - 1] == '/')
        return bw_fail(error, BW_BAD_REQUEST,
                       "%s: must be at most %d characters long and end without a slash",
                       config_source("internal-url"), URL_MAX);
    return BW_OK;
}

/* The origin becomes a header's value, so it must not contain a line end. */
static enum bw_code check_cors_origin(const char *origin, struct bw_error *error)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:[]/";
    bool is_url = strncmp(origin, "http://", 7) == 0 || strncmp(origin, "https://", 8) == 0;
    if (strcmp(origin, "*") == 0 ||
        (is_url && strlen(origin) <= URL_MAX && strspn(origin, allowed) == strlen(origin)))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "%s: must be * or one origin, like https://front.example.edu",
                   config_source("cors-origin"));
}

struct submission_limits api_options_limits(const struct api_options *options)
{
    return (struct submission_limits){.allow_privileged = options->allow_privileged,
                                      .max_job_bytes = options->max_job_bytes,
                                      .max_run_bytes = options->max_run_bytes,
                                      .max_job_files_bytes = options->max_job_files_bytes};
}

int64_t api_options_heartbeat_s(const struct api_options *options)
{
    int64_t interval_ms = options->heartbeat_interval_ms;
    return interval_ms <= 1000 ? 1 : (interval_ms + 999) / 1000;
}

enum bw_code api_options_read(struct api_options *options, int count, char **arguments,
                              struct bw_error *error)
{
    static const struct config config = {
        .program = "broadway-api",
        .purpose =
            "Serves Broadway's REST API to instructors, scripts, front ends and graders. Alone, --print-openapi prints the OpenAPI document of its routes.",
        .options = table,
        .count = sizeof table / sizeof *table,
        .metrics_new = api_metrics_new,
    };
    memset(options, 0, sizeof *options);
    enum bw_code code = config_read(&config, count, arguments, options, error);
    if (code == BW_OK)
        code = check_cors_origin(options->cors_origin, error);
    if (code == BW_OK)
        code = host_list_check(options->allowed_hosts, error);
    return code == BW_OK ? derive_internal_url(options, error) : code;
}
