#include "scheduler/status.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <ulfius.h>

#include "common/port.h"

enum { IDLE_SECONDS = 30 };

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

static int start(struct status *status)
{
    struct _u_instance *instance = &status->instance;
    instance->timeout = IDLE_SECONDS;
    static const char *const methods[] = {"GET", "HEAD"}; /* whose body the library keeps back */
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        ulfius_add_endpoint_by_val(instance, methods[i], NULL, paths[0], 0, serve_metrics, status);
        ulfius_add_endpoint_by_val(instance, methods[i], NULL, paths[1], 0, serve_health, status);
        ulfius_add_endpoint_by_val(instance, methods[i], NULL, paths[2], 0, serve_ready, status);
    }
    ulfius_set_default_endpoint(instance, serve_nothing, status);
    return ulfius_start_framework(instance);
}

enum bw_code status_open(const char *address, uint16_t port, const struct metrics *metrics,
                         struct status **status, struct bw_error *error)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &where.sin_addr) != 1)
        return bw_fail(error, BW_BAD_REQUEST,
                       "--metrics-bind-address %.60s: must be an IPv4 address", address);
    enum bw_code code = port_check("--metrics-port", address, port, error);
    if (code != BW_OK)
        return code;
    struct status *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        abort();
    opened->metrics = metrics;
    pthread_mutex_init(&opened->mutex, NULL);
    if (ulfius_init_instance(&opened->instance, port, &where, NULL) != U_OK ||
        start(opened) != U_OK) {
        ulfius_clean_instance(&opened->instance);
        free(opened);
        return bw_fail(error, BW_BAD_REQUEST, "--metrics-port %u: the port can't be opened on %s",
                       port, address);
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
