#include "common/base/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"

#define PREFIX "BROADWAY_"

enum { NAME_SIZE = 80, CLOSE_ENOUGH = 2 };

/* The options of both binaries, so that both can use one file of variables, and the variables of
 * scripts, samples and tests. A test compares the list with --help. Secrets are in a separate list,
 * since only they may be given by a file. */
static const char *const known[] = {
    "ALLOWED_HOST",
    "ALLOW_PRIVILEGED",
    "ANONYMOUS_CLIENTS",
    "BIND_ADDRESS",
    "CORS_ORIGIN",
    "COURSE_CONFIG",
    "COURSE_POLL_WAIT",
    "GRACE",
    "HEARTBEAT_INTERVAL",
    "INTERNAL_BIND_ADDRESS",
    "INTERNAL_PORT",
    "INTERNAL_URL",
    "JOB_TIMEOUT",
    "LEADER_LEASE",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_ATTEMPTS",
    "MAX_BODY_BYTES",
    "MAX_CONNECTIONS",
    "MAX_CONNECTIONS_PER_ADDRESS",
    "MAX_FILE_BYTES",
    "MAX_JOB_BYTES",
    "MAX_JOB_FILES_BYTES",
    "MAX_LOG_BYTES",
    "MAX_RESULT_BYTES",
    "MAX_RUN_BYTES",
    "METRICS_BIND_ADDRESS",
    "METRICS_PORT",
    "MONGODB_DATABASE",
    "NO_WORKERS_AFTER",
    "ORPHAN_AGE",
    "OTLP_ENDPOINT",
    "POLL_WAIT",
    "PORT",
    "RECEIPT_KEY",
    "REQUEST_TIMEOUT",
    "RETAIN_AUDIT",
    "RETAIN_RUNS",
    "WEBHOOK_ALLOW",
    "WEBHOOK_RETRY",
    "FAILPOINT",
    "FAILPOINT_FILE",
    "FAILPOINTS",
    "PRESET",
    "REVISION",
    "SANITIZE",
    "TESTS",
    "TOKEN",
    "URL",
};

static const char *const known_secrets[] = {
    "CLIENT_TOKEN",        "CLUSTER_TOKEN",        "INTERNAL_TOKEN",        "MONGODB_URI",
    "SECOND_CLIENT_TOKEN", "SECOND_CLUSTER_TOKEN", "SECOND_INTERNAL_TOKEN",
};

enum {
    KNOWN = sizeof known / sizeof *known,
    KNOWN_SECRETS = sizeof known_secrets / sizeof *known_secrets
};

static bool config_unknown_is_name(const char *name, size_t length, const char *wanted)
{
    return length == strlen(wanted) && strncmp(name, wanted, length) == 0;
}

/* Whether it is the variable of the secret, or of the secret's file. */
static bool names_secret(const char *name, size_t length, const char *secret)
{
    static const char ending[] = "_FILE";
    size_t own = sizeof ending - 1;
    if (length > own && strncmp(name + length - own, ending, own) == 0)
        return config_unknown_is_name(name, length - own, secret);
    return config_unknown_is_name(name, length, secret);
}

/* The edit distance: how many letters must be inserted, deleted or replaced. */
static size_t edit_distance(const char *left, size_t length, const char *right)
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

/* Puts the nearest of the names into *best, if it is nearer than *least. */
static void find_nearest(const char *name, size_t length, const char *const *names, size_t count,
                         const char **best, size_t *least)
{
    for (size_t i = 0; i < count; i++) {
        size_t away = edit_distance(name, length, names[i]);
        if (away < *least) {
            *least = away;
            *best = names[i];
        }
    }
}

/* NULL: none is similar. */
static const char *nearest_known_name(const char *name, size_t length)
{
    const char *best = NULL;
    size_t least = CLOSE_ENOUGH + 1;
    find_nearest(name, length, known, KNOWN, &best, &least);
    find_nearest(name, length, known_secrets, KNOWN_SECRETS, &best, &least);
    return best;
}

/* Whether the name contains the word, or, with `ends`, ends with it. */
static bool has_word(const char *name, size_t length, const char *word, bool ends)
{
    size_t own = strlen(word);
    for (size_t at = 0; at + own <= length; at++)
        if (strncmp(name + at, word, own) == 0 && (!ends || at + own == length))
            return true;
    return false;
}

/* Kubernetes sets such variables in pods, for each service whose name begins with BROADWAY. */
static bool is_service_link(const char *name, size_t length, const char *value)
{
    return has_word(name, length, "_SERVICE_", false) || has_word(name, length, "_TCP_", false) ||
           has_word(name, length, "_TCP", true) || strncmp(value, "tcp://", 6) == 0;
}

static bool is_known(const char *name, size_t length)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (config_unknown_is_name(name, length, known[i]))
            return true;
    for (size_t i = 0; i < KNOWN_SECRETS; i++)
        if (names_secret(name, length, known_secrets[i]))
            return true;
    return false;
}

/* `variable` is NAME=VALUE, behind the prefix. */
static void check_variable(const char *variable)
{
    size_t length = strcspn(variable, "=");
    const char *value = variable[length] == '=' ? variable + length + 1 : "";
    char shown[NAME_SIZE + sizeof PREFIX], meant[NAME_SIZE + sizeof PREFIX];
    if (is_known(variable, length) || is_service_link(variable, length, value))
        return;
    snprintf(shown, sizeof shown, PREFIX "%.*s", (int)(length < 60 ? length : 60), variable);
    const char *near = nearest_known_name(variable, length);
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
