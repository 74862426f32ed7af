#include "scheduler/io/status.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/config.h"
#include "scheduler/io/status_server.h"

struct status {
    struct status_server *server;
    const struct metrics *metrics;
    pthread_mutex_t mutex; /* guards all fields below */
    bool is_ready;
    char *json;
};

static const char json_type[] = "application/json";

static struct status_answer serve_metrics(struct status *status)
{
    return (struct status_answer){.status = 200,
                                  .type = "text/plain; version=0.0.4; charset=utf-8",
                                  .body = metrics_text(status->metrics)};
}

static struct status_answer serve_health(struct status *status)
{
    (void)status;
    return (struct status_answer){
        .status = 200, .type = json_type, .body = bw_copy("{\"status\":\"ok\"}")};
}

static struct status_answer serve_ready(struct status *status)
{
    pthread_mutex_lock(&status->mutex);
    struct status_answer answer = {.status = status->is_ready ? 200 : 503,
                                   .type = json_type,
                                   .body = bw_copy(status->json != NULL ? status->json : "{}")};
    pthread_mutex_unlock(&status->mutex);
    return answer;
}

static const struct {
    const char *path;
    struct status_answer (*serve)(struct status *status);
} paths[] = {{"/metrics", serve_metrics}, {"/healthz", serve_health}, {"/readyz", serve_ready}};

static struct status_answer refuse_path(void)
{
    return (struct status_answer){
        .status = 404, .type = json_type, .error = "there is nothing at this path"};
}

static struct status_answer refuse_method(void)
{
    return (struct status_answer){.status = 405,
                                  .type = json_type,
                                  .allow = "GET, HEAD",
                                  .error = "this path takes only the methods GET and HEAD"};
}

/* On the server's thread. */
static struct status_answer status_answer(void *context, const char *method, const char *path)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (strcmp(path, paths[i].path) != 0)
            continue;
        bool is_read = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
        return is_read ? paths[i].serve(context) : refuse_method();
    }
    return refuse_path();
}

enum bw_code status_open(const char *address, uint16_t port, size_t connections,
                         const struct metrics *metrics, struct status **status,
                         struct bw_error *error)
{
    const char *flag = config_source("metrics-port");
    struct status *opened = bw_alloc(sizeof *opened);
    opened->metrics = metrics;
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = status_server_open(flag, address, port, connections, status_answer, opened,
                                           &opened->server, error);
    if (code != BW_OK) {
        status_close(opened);
        return code;
    }
    *status = opened;
    return BW_OK;
}

void status_close(struct status *status)
{
    if (status == NULL)
        return;
    status_server_close(status->server);
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
