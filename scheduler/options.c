#include "scheduler/options.h"

#include <stddef.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "scheduler/metrics.h"

#define AT(member) offsetof(struct scheduler_options, member)

static const char *const uri_beginnings[] = {"mongodb://", "mongodb+srv://", NULL};

static const char *const url_beginnings[] = {"http://", "https://", NULL};

static const struct config_option table[] = {
    {"mongodb-uri", CONFIG_SECRET, AT(mongodb_uri), "mongodb://127.0.0.1:27017/?replicaSet=rs0", 0,
     0, uri_beginnings, "URI", "The database: a replica set"},
    {"mongodb-database", CONFIG_NAME, AT(mongodb_database), "broadway", 0, 0, NULL, "NAME",
     "Name of the database"},
    {"internal-token", CONFIG_SECRET, AT(internal_token), NULL, 0, 0, NULL, "TOKEN",
     "Token of callbacks to replicas; without it one is created and stored in the database, for one machine"},
    {"metrics-bind-address", CONFIG_ADDRESS, AT(metrics_bind_address), "127.0.0.1", 0, 0, NULL,
     "ADDRESS", "Address for /metrics, /healthz and /readyz"},
    {"metrics-port", CONFIG_INTEGER, AT(metrics_port), "1472", 1, 65535, NULL, "PORT",
     "Port for /metrics, /healthz and /readyz"},
    {"heartbeat-interval", CONFIG_MILLISECONDS, AT(heartbeat_interval_ms), "10", 0.05, 3600, NULL,
     "SECONDS", "Interval of graders' heartbeats; must equal the API's"},
    {"max-attempts", CONFIG_INTEGER, AT(max_attempts), "3", 1, 10, NULL, "N",
     "How many failed attempts (lost, past the deadline, undeliverable) make a job fail"},
    {"job-timeout", CONFIG_MILLISECONDS, AT(job_timeout_ms), "3600", 1, 604800, NULL, "SECONDS",
     "Time limit of a stage without a timeout; a job's deadline is the sum over its stages"},
    {"leader-lease", CONFIG_MILLISECONDS, AT(leader_lease_ms), "5", 0.3, 300, NULL, "SECONDS",
     "How long a leader keeps the lead without a renewal"},
    {"retain-runs", CONFIG_MILLISECONDS, AT(retain_runs_ms), "0", 0, 3153600000.0, NULL, "SECONDS",
     "How long a run and its results are kept after its end; 0: forever"},
    {"retain-audit", CONFIG_MILLISECONDS, AT(retain_audit_ms), "31536000", 0, 3153600000.0, NULL,
     "SECONDS", "How long an entry of the audit is kept; 0: forever"},
    {"orphan-age", CONFIG_MILLISECONDS, AT(orphan_age_ms), "86400", 1, 3153600000.0, NULL,
     "SECONDS", "How long incomplete documents of killed processes are kept"},
    {"webhook-allow", CONFIG_TEXT, AT(webhook_allow), NULL, 0, 0, NULL, "LIST",
     "Networks and hosts, separated by commas, to which webhooks may be sent beside public addresses"},
    {"webhook-retry", CONFIG_MILLISECONDS, AT(webhook_retry_ms), "86400", 1, 604800, NULL,
     "SECONDS", "How long a webhook is tried before it is given up"},
    {"no-workers-after", CONFIG_MILLISECONDS, AT(no_workers_ms), "300", 1, 86400, NULL, "SECONDS",
     "How long jobs wait without a live grader until webhooks are told"},
    {"grace", CONFIG_MILLISECONDS, AT(grace_ms), "10", 0, 600, NULL, "SECONDS",
     "Grace period for work in flight after SIGTERM"},
    {"otlp-endpoint", CONFIG_TEXT, AT(otlp_endpoint), NULL, 0, 0, url_beginnings, "URL",
     "A collector of traces, by OTLP over HTTP: spans are posted to URL/v1/traces"},
    {"log-level", CONFIG_CHOICE, AT(log_level), "info", 0, 0, log_level_names, "LEVEL",
     "debug, info, warning or error"},
    {"log-format", CONFIG_CHOICE, AT(log_format), "text", 0, 0, log_format_names, "FORMAT",
     "text or json"},
};

enum bw_code scheduler_options_read(struct scheduler_options *options, int count, char **arguments,
                                    struct bw_error *error)
{
    static const struct config config = {
        .program = "broadway-scheduler",
        .purpose = "Hands Broadway's jobs to graders. One scheduler leads, any others stand by.",
        .options = table,
        .count = sizeof table / sizeof *table,
        .metrics_new = scheduler_metrics_new,
    };
    memset(options, 0, sizeof *options);
    return config_read(&config, count, arguments, options, error);
}
