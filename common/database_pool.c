#include "common/database_pool.h"

#include <string.h>
#include <strings.h>

/* What a URI may say. Options that weaken TLS, and ones that would undo what the code promises, are
 * not among it. */
static const char *const known_options[] = {
    "replicaSet",
    "authSource",
    "authMechanism",
    "authMechanismProperties",
    "tls",
    "ssl",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
    "connectTimeoutMS",
    "socketTimeoutMS",
    "serverSelectionTimeoutMS",
    "waitQueueTimeoutMS",
    "heartbeatFrequencyMS",
    "localThresholdMS",
    "maxPoolSize",
    "compressors",
    "zlibCompressionLevel",
    "appName",
    "directConnection",
    "loadBalanced",
    "retryWrites",
    "retryReads",
    "w",
    "journal",
    "readConcernLevel",
    "readPreference",
};

static bool is_known_option(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof known_options / sizeof *known_options; i++)
        if (strlen(known_options[i]) == length && strncasecmp(known_options[i], name, length) == 0)
            return true;
    return false;
}

/* The driver only warns of a misspelt option; a misspelt time-out must not silently be none. */
enum bw_code database_check_uri(const char *uri, struct bw_error *error)
{
    const char *option = strchr(uri, '?');
    while (option != NULL && option[1] != '\0') {
        option++;
        size_t length = strcspn(option, "=&");
        if (length > 0 && !is_known_option(option, length))
            return bw_fail(error, BW_BAD_REQUEST,
                           "the MongoDB URI has the option '%.*s', which is %s",
                           (int)(length < 60 ? length : 60), option,
                           strncasecmp(option, "tls", 3) == 0 ? "refused because it weakens TLS"
                                                              : "not known");
        option = strchr(option, '&');
    }
    return BW_OK;
}

static void set_default(mongoc_uri_t *uri, const char *option, int32_t value)
{
    if (mongoc_uri_get_option_as_int32(uri, option, 0) == 0)
        mongoc_uri_set_option_as_int32(uri, option, value);
}

/* Every wait gets a bound. */
static void bound_waits(mongoc_uri_t *uri, const struct database_bounds *bounds)
{
    set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, bounds->selection_ms);
    set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, bounds->connect_ms);
    set_default(uri, MONGOC_URI_SOCKETTIMEOUTMS, bounds->socket_ms);
    set_default(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, bounds->selection_ms);
    set_default(uri, MONGOC_URI_HEARTBEATFREQUENCYMS, 2000);
    set_default(uri, MONGOC_URI_MAXPOOLSIZE, bounds->pool_size);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, true);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, true);
}

mongoc_client_pool_t *database_pool_open(const mongoc_uri_t *base,
                                         const struct database_bounds *bounds,
                                         const char *application, struct bw_error *error)
{
    mongoc_uri_t *uri = mongoc_uri_copy(base);
    bound_waits(uri, bounds);
    bson_error_t reason;
    mongoc_client_pool_t *pool = mongoc_client_pool_new_with_error(uri, &reason);
    mongoc_uri_destroy(uri);
    if (pool == NULL) {
        bw_fail(error, BW_BAD_REQUEST, "the MongoDB URI is not usable: %s", reason.message);
        return NULL;
    }
    mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
    if (mongoc_uri_get_appname(base) == NULL)
        mongoc_client_pool_set_appname(pool, application);
    return pool;
}
