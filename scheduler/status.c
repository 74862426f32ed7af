#include "scheduler/status.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <ulfius.h>

#include "common/config.h"
#include "common/port.h"

enum { IDLE_SECONDS = 30, CONNECTIONS = 256 /* each is a thread */ };

struct status {
    struct _u_instance instance;
    const struct metrics *metrics;
    pthread_mutex_t mutex; /* guards what follows */
    bool is_ready;
    char *json;
};

static int serve_metrics(const struct _u_request *request, struct _u_response *response,
                         void *context)
{
    (void)request;
    struct status *status = context;
    char *text = metrics_text(status->metrics);
    ulfius_set_string_body_response(response, 200, text);
    u_map_put(response->map_header, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    free(text);
    return U_CALLBACK_COMPLETE;
}

static int serve_health(const struct _u_request *request, struct _u_response *response,
                        void *context)
{
    (void)request, (void)context;
    ulfius_set_string_body_response(response, 200, "{\"status\":\"ok\"}");
    u_map_put(response->map_header, "Content-Type", "application/json");
    return U_CALLBACK_COMPLETE;
}

static int serve_ready(const struct _u_request *request, struct _u_response *response,
                       void *context)
{
    (void)request;
    struct status *status = context;
    pthread_mutex_lock(&status->mutex);
    ulfius_set_string_body_response(response, status->is_ready ? 200 : 503,
                                    status->json != NULL ? status->json : "{}");
    pthread_mutex_unlock(&status->mutex);
    u_map_put(response->map_header, "Content-Type", "application/json");
    return U_CALLBACK_COMPLETE;
}

static const char *const paths[] = {"/metrics", "/healthz", "/readyz"};

static bool is_known(const char *path)
{
    for (size_t i = 0; path != NULL && i < sizeof paths / sizeof *paths; i++)
        if (strcmp(path, paths[i]) == 0)
            return true;
    return false;
}

static int serve_nothing(const struct _u_request *request, struct _u_response *response,
                         void *context)
{
    (void)context;
    bool is_method = is_known(request->url_path);
    ulfius_set_string_body_response(
        response, is_method ? 405 : 404,
        is_method ? "{\"error\":\"this path takes only the methods GET and HEAD\"}"
                  : "{\"error\":\"there is nothing at this path\"}");
    if (is_method)
        u_map_put(response->map_header, "Allow", "GET, HEAD");
    u_map_put(response->map_header, "Content-Type", "application/json");
    return U_CALLBACK_COMPLETE;
}

/* ---- What the library refuses by itself ----
 *
 * A query that does not fit into a connection's memory makes the library give the connection up
 * without ending its request. No path here takes a query: it is emptied in the library's buffer
 * before it is parsed. A request that is given up all the same is ended with its connection. */

/* What ulfius keeps for the request of a connection; NULL: none. */
struct status_connection {
    void *request;
};

static struct status_connection *status_connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void *status_begin_request(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct status_connection *peer = status_connection_of(connection);
    char *query = strchr((char *)(uintptr_t)uri, '?');
    if (query != NULL && query[1] != '\0')
        query[1] = '\0';
    void *request = ulfius_uri_logger(context, uri);
    if (peer != NULL)
        peer->request = request;
    return request;
}

static void status_end_request(void *context, struct MHD_Connection *connection, void **request,
                               enum MHD_RequestTerminationCode code)
{
    struct status_connection *peer = status_connection_of(connection);
    if (peer != NULL)
        peer->request = NULL;
    mhd_request_completed(context, connection, request, code);
}

static void status_note_connection(void *context, struct MHD_Connection *connection,
                                   void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = calloc(1, sizeof(struct status_connection));
        return;
    }
    struct status_connection *peer = *socket_context;
    if (peer != NULL && peer->request != NULL)
        mhd_request_completed(context, connection, &peer->request,
                              MHD_REQUEST_TERMINATED_WITH_ERROR);
    free(peer);
    *socket_context = NULL;
}

static int start(struct status *status, const struct sockaddr_in *where)
{
    struct _u_instance *instance = &status->instance;
    instance->allowed_post_processor = U_POST_PROCESS_NONE;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)status_note_connection, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)status_end_request, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)status_begin_request, NULL},
        {MHD_OPTION_SOCK_ADDR, 0, (void *)(uintptr_t)where},
        {MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    static const char *const methods[] = {"GET", "HEAD"}; /* whose body the library keeps back */
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        ulfius_add_endpoint_by_val(instance, methods[i], NULL, paths[0], 0, serve_metrics, status);
        ulfius_add_endpoint_by_val(instance, methods[i], NULL, paths[1], 0, serve_health, status);
        ulfius_add_endpoint_by_val(instance, methods[i], NULL, paths[2], 0, serve_ready, status);
    }
    ulfius_set_default_endpoint(instance, serve_nothing, status);
    return ulfius_start_framework_with_mhd_options(
        instance, MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
        options);
}

enum bw_code status_open(const char *address, uint16_t port, const struct metrics *metrics,
                         struct status **status, struct bw_error *error)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &where.sin_addr) != 1)
        return bw_fail(error, BW_BAD_REQUEST, "%s %.60s: must be an IPv4 address",
                       config_source("metrics-bind-address"), address);
    enum bw_code code = port_check(config_source("metrics-port"), address, port, error);
    if (code != BW_OK)
        return code;
    struct status *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        abort();
    opened->metrics = metrics;
    pthread_mutex_init(&opened->mutex, NULL);
    if (ulfius_init_instance(&opened->instance, port, &where, NULL) != U_OK ||
        start(opened, &where) != U_OK) {
        ulfius_clean_instance(&opened->instance);
        free(opened);
        return bw_fail(error, BW_BAD_REQUEST, "%s %u: can't be opened on %s",
                       config_source("metrics-port"), port, address);
    }
    *status = opened;
    return BW_OK;
}

void status_close(struct status *status)
{
    if (status == NULL)
        return;
    ulfius_stop_framework(&status->instance);
    ulfius_clean_instance(&status->instance);
    pthread_mutex_destroy(&status->mutex);
    free(status->json);
    free(status);
}

void status_set_ready(struct status *status, bool is_ready, char *json)
{
    pthread_mutex_lock(&status->mutex);
    free(status->json);
    status->json = json;
    status->is_ready = is_ready;
    pthread_mutex_unlock(&status->mutex);
}
