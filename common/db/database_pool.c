#include "common/db/database_pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/db/database_mask.h"

/* Options that a URI may have. Options that weaken TLS, or that override settings of the code, are
 * not in the list. */
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

/* In user:password@host the @ must be the only one before the options, and must come before the
 * path. With a second @ the driver would parse a part of the password as a host, and show it in
 * every message. */
static enum bw_code check_password(const char *uri, struct bw_error *error)
{
    const char *begin = strstr(uri, "://");
    if (begin == NULL)
        return BW_OK; /* the driver refuses it */
    size_t whole = strcspn(begin + 3, "?"), length = strcspn(begin + 3, "/?"), count = 0;
    for (size_t i = 0; i < whole; i++)
        if (begin[3 + i] == '@')
            count += i < length ? 1 : 2;
    if (count <= 1)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "the MongoDB URI has an @ in its user or password: write it as %%40 "
                   "(and : / ? # [ ] %% as %%3A %%2F %%3F %%23 %%5B %%5D %%25)");
}

/* Whether it is a word that can't be a part of a password that should have been encoded. */
static bool may_show_option(const char *option, size_t length)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return strspn(option, letters) >= length && strchr(option, '@') == NULL;
}

/* The driver only warns of a misspelt option; a misspelt time-out must not be ignored silently. */
static enum bw_code check_options(const char *uri, struct bw_error *error)
{
    const char *option = strchr(uri, '?');
    while (option != NULL && option[1] != '\0') {
        option++;
        size_t length = strcspn(option, "=&");
        if (length > 0 && !is_known_option(option, length) && !may_show_option(option, length))
            return bw_fail(error, BW_BAD_REQUEST,
                           "the MongoDB URI has an option that is not known (it may be a part of "
                           "the password, which must be percent-encoded, and is not shown)");
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

static bool has_certificate(FILE *file)
{
    char line[256];
    while (fgets(line, sizeof line, file) != NULL)
        if (strstr(line, "-----BEGIN ") != NULL)
            return true;
    return false;
}

static enum bw_code check_file(const mongoc_uri_t *uri, const char *option, struct bw_error *error)
{
    const char *path = mongoc_uri_get_option_as_utf8(uri, option, NULL);
    if (path == NULL)
        return BW_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "the MongoDB URI's %s '%.200s' can't be read: %s",
                       option, path, strerror(errno));
    bool is_good = has_certificate(file);
    fclose(file);
    if (is_good)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "the MongoDB URI's %s '%.200s' has no certificate in it; is it the placeholder "
                   "of a sample?",
                   option, path);
}

/* The driver opens these files at each connection and reports a failure as the server's: the
 * process would wait forever. */
static enum bw_code check_files(const mongoc_uri_t *uri, struct bw_error *error)
{
    enum bw_code code = check_file(uri, "tlsCAFile", error);
    return code != BW_OK ? code : check_file(uri, "tlsCertificateKeyFile", error);
}

mongoc_uri_t *database_uri_read(const char *text, struct bw_error *error)
{
    if (check_password(text, error) != BW_OK || check_options(text, error) != BW_OK)
        return NULL;
    bson_error_t reason;
    mongoc_uri_t *uri = mongoc_uri_new_with_error(text, &reason);
    if (uri == NULL) {
        bw_fail(
            error, BW_BAD_REQUEST,
            "the MongoDB URI can't be read: it must look like mongodb://HOST:PORT/?replicaSet=NAME");
        return NULL;
    }
    if (check_files(uri, error) == BW_OK)
        return uri;
    mongoc_uri_destroy(uri);
    return NULL;
}

static void set_default(mongoc_uri_t *uri, const char *option, int32_t value)
{
    if (mongoc_uri_get_option_as_int32(uri, option, 0) == 0)
        mongoc_uri_set_option_as_int32(uri, option, value);
}

static void set_default_bool(mongoc_uri_t *uri, const char *option, bool value)
{
    if (!mongoc_uri_has_option(uri, option))
        mongoc_uri_set_option_as_bool(uri, option, value);
}

int32_t database_pool_size(const mongoc_uri_t *base, const struct database_bounds *bounds)
{
    int32_t asked = bounds->is_sized
                        ? mongoc_uri_get_option_as_int32(base, MONGOC_URI_MAXPOOLSIZE, 0)
                        : 0;
    return asked > 0 ? asked : bounds->pool_size;
}

/* Bounds every wait. */
static void bound_waits(mongoc_uri_t *uri, const struct database_bounds *bounds)
{
    set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, bounds->selection_ms);
    set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, bounds->connect_ms);
    set_default(uri, MONGOC_URI_SOCKETTIMEOUTMS, bounds->socket_ms);
    set_default(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, bounds->selection_ms);
    set_default(uri, MONGOC_URI_HEARTBEATFREQUENCYMS, 2000);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, database_pool_size(uri, bounds));
    set_default_bool(uri, MONGOC_URI_RETRYWRITES, true);
    set_default_bool(uri, MONGOC_URI_RETRYREADS, true);
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
        bw_fail(error, BW_BAD_REQUEST, "the MongoDB URI is not usable: %s",
                database_mask(reason.message));
        return NULL;
    }
    mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
    if (mongoc_uri_get_appname(base) == NULL)
        mongoc_client_pool_set_appname(pool, application);
    return pool;
}
