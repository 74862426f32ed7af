#include "common/base/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

#define PREFIX "BROADWAY_"

enum { NAME_SIZE = 80, CLOSE_ENOUGH = 2 };

/* The options of both binaries, so that one file of variables does for both; and what scripts,
 * samples and tests read. A test holds this against what --help lists. */
static const char *const known[] = {
    "ALLOWED_HOST",
    "ALLOW_PRIVILEGED",
    "ANONYMOUS_CLIENTS",
    "BIND_ADDRESS",
    "CLIENT_TOKEN",
    "CLUSTER_TOKEN",
    "CORS_ORIGIN",
    "COURSE_CONFIG",
    "COURSE_POLL_WAIT",
    "GRACE",
    "HEARTBEAT_INTERVAL",
    "INTERNAL_BIND_ADDRESS",
    "INTERNAL_PORT",
    "INTERNAL_TOKEN",
    "INTERNAL_URL",
    "JOB_TIMEOUT",
    "LEADER_LEASE",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_ATTEMPTS",
    "MAX_BODY_BYTES",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "MAX_JOB_BYTES",
    "MAX_LOG_BYTES",
    "MAX_RESULT_BYTES",
    "MAX_RUN_BYTES",
    "METRICS_BIND_ADDRESS",
    "METRICS_PORT",
    "MONGODB_DATABASE",
    "MONGODB_URI",
    "ORPHAN_AGE",
    "POLL_WAIT",
    "PORT",
    "REQUEST_TIMEOUT",
    "RETAIN_RUNS",
    "SECOND_CLIENT_TOKEN",
    "SECOND_CLUSTER_TOKEN",
    "SECOND_INTERNAL_TOKEN",
    "FAILPOINT",
    "FAILPOINTS",
    "MUTANT",
    "PRESET",
    "REVISION",
    "SANITIZE",
    "TESTS",
    "TOKEN",
    "URL",
};

enum { KNOWN = sizeof known / sizeof *known };

/* Does `name` stand for the option, given by itself or by a file? */
static bool names_option(const char *name, size_t length, const char *option)
{
    size_t own = strlen(option);
    if (length < own || strncmp(name, option, own) != 0)
        return false;
    return length == own || (length == own + 5 && strncmp(name + own, "_FILE", 5) == 0);
}

/* How many letters must be put in, left out or changed. */
static size_t distance(const char *left, size_t length, const char *right)
{
    size_t row[NAME_SIZE], width = strlen(right);
    if (width >= NAME_SIZE)
        return NAME_SIZE;
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 1; i <= length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t changed = diagonal + (left[i - 1] != right[j - 1]);
            size_t shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = changed < shorter ? changed : shorter;
        }
    }
    return row[width];
}

/* NULL: none is near. */
static const char *nearest(const char *name, size_t length)
{
    const char *best = NULL;
    size_t least = CLOSE_ENOUGH + 1;
    for (size_t i = 0; i < KNOWN; i++) {
        size_t away = distance(name, length, known[i]);
        if (away < least) {
            least = away;
            best = known[i];
        }
    }
    return best;
}

/* Kubernetes gives such variables to pods, for each service of a name like ours. */
static bool is_service_link(const char *name, const char *value)
{
    return strstr(name, "_SERVICE_") != NULL || strncmp(value, "tcp://", 6) == 0 ||
           strstr(name, "_TCP_") != NULL || strstr(name, "_TCP=") != NULL;
}

static bool is_known(const char *name, size_t length)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (names_option(name, length, known[i]))
            return true;
    return false;
}

/* `variable` is NAME=VALUE, behind the prefix. */
static void check_variable(const char *variable)
{
    size_t length = strcspn(variable, "=");
    const char *value = variable[length] == '=' ? variable + length + 1 : "";
    char shown[NAME_SIZE + sizeof PREFIX], meant[NAME_SIZE + sizeof PREFIX];
    if (is_known(variable, length) || is_service_link(variable, value))
        return;
    snprintf(shown, sizeof shown, PREFIX "%.*s", (int)(length < 60 ? length : 60), variable);
    const char *near = nearest(variable, length);
    snprintf(meant, sizeof meant, PREFIX "%s", near != NULL ? near : "");
    if (near != NULL)
        log_warning("a variable of the environment is not known", log_text("name", shown),
                    log_text("nearest", meant));
    else
        log_warning("a variable of the environment is not known", log_text("name", shown));
}

void config_warn_unknown(void)
{
    static const size_t prefix = sizeof PREFIX - 1;
    for (char **variable = environ; *variable != NULL; variable++)
        if (strncmp(*variable, PREFIX, prefix) == 0)
            check_variable(*variable + prefix);
}
