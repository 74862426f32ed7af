#include "common/db/database_diagnosis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/db/database_pool.h"

#define OLDEST "4.4.2"

enum { OLDEST_WIRE_VERSION = 9, COMMAND_NOT_FOUND = 59, VERSION_SIZE = 40, SET_SIZE = 128 };

static const struct database_bounds ask_bounds = {1000, 1000, 1000, 1, false};

/* ---- The version ---- */

static void database_diagnosis_take_text(const bson_t *document, const char *name, char *text,
                                         size_t size)
{
    bson_iter_t field;
    text[0] = '\0';
    if (bson_iter_init_find(&field, document, name) && BSON_ITER_HOLDS_UTF8(&field))
        snprintf(text, size, "%s", bson_iter_utf8(&field, NULL));
}

static void database_diagnosis_read_version(mongoc_client_t *client, char version[VERSION_SIZE])
{
    bson_t command = BSON_INITIALIZER, reply;
    BSON_APPEND_INT32(&command, "buildInfo", 1);
    mongoc_client_command_simple(client, "admin", &command, NULL, &reply, NULL);
    database_diagnosis_take_text(&reply, "version", version, VERSION_SIZE);
    bson_destroy(&reply);
    bson_destroy(&command);
}

/* The server's wire version from its reply to hello, or else from the driver's sentence; -1:
 * unknown. */
static int64_t database_diagnosis_wire_version(const bson_t *hello, const bson_error_t *reason)
{
    static const char words[] = "reports wire version ";
    bson_iter_t field;
    if (bson_iter_init_find(&field, hello, "maxWireVersion"))
        return bson_iter_as_int64(&field);
    const char *at = reason != NULL ? strstr(reason->message, words) : NULL;
    return at != NULL ? strtol(at + sizeof words - 1, NULL, 10) : -1;
}

/* The newest release with this wire version. */
static const char *database_diagnosis_release(int64_t wire_version)
{
    static const char *const releases[] = {"2.6", "2.6", "2.6", "3.0", "3.2",
                                           "3.4", "3.6", "4.0", "4.2", "4.4"};
    if (wire_version < 0 || wire_version >= (int64_t)(sizeof releases / sizeof *releases))
        return "(a version that it does not tell)";
    return releases[wire_version];
}

static bool has_old_wire_version(const bson_t *hello)
{
    int64_t wire_version = database_diagnosis_wire_version(hello, NULL);
    return wire_version >= 0 && wire_version < OLDEST_WIRE_VERSION;
}

/* Servers before 4.2.10 and 4.4.2 lack the command; the driver refuses servers before 3.6. */
static bool is_unknown_command(const bson_error_t *reason)
{
    return reason->code == COMMAND_NOT_FOUND ||
           strstr(reason->message, "no such command") != NULL ||
           (reason->domain == MONGOC_ERROR_PROTOCOL &&
            reason->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION);
}

bool diagnosis_is_too_old(mongoc_client_t *client, const bson_t *hello, const bson_error_t *reason,
                          struct bw_error *sentence)
{
    char version[VERSION_SIZE];
    if (reason != NULL ? !is_unknown_command(reason) : !has_old_wire_version(hello))
        return false;
    database_diagnosis_read_version(client, version);
    bw_fail(sentence, BW_INTERNAL, "MongoDB %s is too old: Broadway needs " OLDEST " or newer",
            version[0] != '\0'
                ? version
                : database_diagnosis_release(database_diagnosis_wire_version(hello, reason)));
    return true;
}

/* ---- The replica set ---- */

static void copy_option(mongoc_uri_t *uri, const bson_iter_t *option)
{
    static const char *const others[] = {"replicaset", "directconnection", "loadbalanced"};
    const char *name = bson_iter_key(option);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcasecmp(name, others[i]) == 0)
            return;
    if (BSON_ITER_HOLDS_UTF8(option))
        mongoc_uri_set_option_as_utf8(uri, name, bson_iter_utf8(option, NULL));
    else if (BSON_ITER_HOLDS_BOOL(option))
        mongoc_uri_set_option_as_bool(uri, name, bson_iter_bool(option));
}

static void copy_credentials(mongoc_uri_t *uri, const mongoc_uri_t *from)
{
    const char *mechanism = mongoc_uri_get_auth_mechanism(from);
    if (mongoc_uri_get_username(from) == NULL)
        return;
    mongoc_uri_set_username(uri, mongoc_uri_get_username(from));
    if (mongoc_uri_get_password(from) != NULL)
        mongoc_uri_set_password(uri, mongoc_uri_get_password(from));
    mongoc_uri_set_auth_source(uri, mongoc_uri_get_auth_source(from));
    if (mechanism != NULL)
        mongoc_uri_set_auth_mechanism(uri, mechanism);
}

/* A URI of that server alone, without its replica set. New. */
static mongoc_uri_t *direct_uri(const mongoc_uri_t *from, const mongoc_host_list_t *host)
{
    mongoc_uri_t *uri = mongoc_uri_new_for_host_port(host->host, host->port);
    bson_iter_t option;
    if (uri == NULL)
        return NULL;
    if (bson_iter_init(&option, mongoc_uri_get_options(from)))
        while (bson_iter_next(&option))
            copy_option(uri, &option);
    copy_credentials(uri, from);
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_DIRECTCONNECTION, true);
    return uri;
}

/* False: no answer. An empty name: it is in no set. */
static bool read_set(const mongoc_uri_t *uri, const char *application, char set[SET_SIZE])
{
    struct bw_error unused;
    mongoc_client_pool_t *pool = database_pool_open(uri, &ask_bounds, application, &unused);
    mongoc_client_t *client = pool != NULL ? mongoc_client_pool_pop(pool) : NULL;
    bool is_read = false;
    if (client != NULL) {
        bson_t command = BSON_INITIALIZER, reply;
        BSON_APPEND_INT32(&command, "hello", 1);
        is_read = mongoc_client_command_simple(client, "admin", &command, NULL, &reply, NULL);
        database_diagnosis_take_text(&reply, "setName", set, SET_SIZE);
        bson_destroy(&reply);
        bson_destroy(&command);
        mongoc_client_pool_push(pool, client);
    }
    if (pool != NULL)
        mongoc_client_pool_destroy(pool);
    return is_read;
}

bool diagnosis_is_other_set(const mongoc_uri_t *uri, const char *application,
                            struct bw_error *sentence)
{
    const char *wanted = mongoc_uri_get_replica_set(uri);
    const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri);
    for (; wanted != NULL && host != NULL; host = host->next) {
        char set[SET_SIZE] = "";
        mongoc_uri_t *direct = direct_uri(uri, host);
        bool is_read = direct != NULL && read_set(direct, application, set);
        if (direct != NULL)
            mongoc_uri_destroy(direct);
        if (!is_read || strcmp(set, wanted) == 0)
            continue;
        bw_fail(sentence, BW_UNAVAILABLE,
                "the URI names the replica set '%.60s', but the server at %.80s %s%.60s%s", wanted,
                host->host_and_port, set[0] != '\0' ? "belongs to '" : "belongs to none", set,
                set[0] != '\0' ? "'" : "");
        return true;
    }
    return false;
}
