#include "scheduler/options.h"

#include <stddef.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"

#define AT(member) offsetof(struct scheduler_options, member)

static const char *const uri_beginnings[] = {"mongodb://", "mongodb+srv://", NULL};

static const struct config_option table[] = {
    {"mongodb-uri", CONFIG_SECRET, AT(mongodb_uri), "mongodb://127.0.0.1:27017/?replicaSet=rs0", 0,
     0, uri_beginnings, "URI", "The database: a replica set"},
    {"mongodb-database", CONFIG_NAME, AT(mongodb_database), "broadway", 0, 0, NULL, "NAME",
     "Name of the database"},
    {"internal-token", CONFIG_SECRET, AT(internal_token), NULL, 0, 0, NULL, "TOKEN",
     "What the replicas expect in callbacks; without it one is made and kept in the database, for one machine"},
    {"metrics-bind-address", CONFIG_ADDRESS, AT(metrics_bind_address), "127.0.0.1", 0, 0, NULL,
     "ADDRESS", "Where /metrics, /healthz and /readyz are served"},
    {"metrics-port", CONFIG_INTEGER, AT(metrics_port), "1472", 1, 65535, NULL, "PORT",
     "And on which port"},
    {"heartbeat-interval", CONFIG_MILLISECONDS, AT(heartbeat_interval_ms), "10", 0.05, 3600, NULL,
     "SECONDS", "How often a grader sends a heartbeat; the same as the API's"},
    {"max-attempts", CONFIG_INTEGER, AT(max_attempts), "3", 1, 10, NULL, "N",
     "How many graders may fail a job before it is given up"},
    {"job-timeout", CONFIG_MILLISECONDS, AT(job_timeout_ms), "3600", 1, 604800, NULL, "SECONDS",
     "How long a stage without a timeout may take; a job has the sum of its stages' limits"},
    {"leader-lease", CONFIG_MILLISECONDS, AT(leader_lease_ms), "5", 0.3, 300, NULL, "SECONDS",
     "How long a leader that is not heard leads"},
    {"retain-runs", CONFIG_MILLISECONDS, AT(retain_runs_ms), "0", 0, 3153600000.0, NULL, "SECONDS",
     "How long a run is kept after its end, with all its results; 0: for ever"},
    {"orphan-age", CONFIG_MILLISECONDS, AT(orphan_age_ms), "86400", 1, 3153600000.0, NULL,
     "SECONDS", "How long what a dying process left half stored is kept before it is removed"},
    {"grace", CONFIG_MILLISECONDS, AT(grace_ms), "10", 0, 600, NULL, "SECONDS",
     "How long what is under way may take after SIGTERM"},
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
    };
    memset(options, 0, sizeof *options);
    return config_read(&config, count, arguments, options, error);
}
