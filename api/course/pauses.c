#include "api/course/pauses.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/course/client.h"
#include "api/course/envelope.h"
#include "api/grading/pauses.h"
#include "api/http/exchange.h"
#include "common/store/grading_config_store.h"

const struct json_field course_worker_pause_fields[] = {
    PAUSE_NOTE_FIELD,
    PAUSE_TIMEOUT_FIELD,
    {.name = "drain", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

typedef enum bw_code pause_step(struct api *api, const struct pause_request *request,
                                struct bw_error *error);

static struct pause_request course_pauses_request(struct exchange *exchange, enum pause_kind kind,
                                                  const char *name, const char *by)
{
    return (struct pause_request){.kind = kind,
                                  .name = name,
                                  .by = by,
                                  .arguments = exchange_request(exchange)->arguments,
                                  .exchange = exchange,
                                  .answer = course_succeed};
}

/* For what a course pauses or resumes. */
static enum bw_code course_pauses_do(struct api *api, struct exchange *exchange,
                                     enum pause_kind kind, const char *name, pause_step *step,
                                     struct bw_error *error)
{
    char by[PAUSE_BY_SIZE];
    const char *token = exchange_token_name(exchange);
    snprintf(by, sizeof by, "%s%scourse %s", token, token[0] != '\0' ? " of " : "",
             exchange_request(exchange)->parts[0]);
    const struct pause_request request = course_pauses_request(exchange, kind, name, by);
    return step(api, &request, error);
}

/* ---- Runs ---- */

static enum bw_code course_pauses_about_run(struct api *api, struct exchange *exchange,
                                            pause_step *step, struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct run run;
    enum bw_code code = course_find_run(api, request->parts[0], request->parts[1], &run, error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    return course_pauses_do(api, exchange, PAUSE_RUN, run.id, step, error);
}

enum bw_code course_pauses_begin_run(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    return course_pauses_about_run(api, exchange, pause_begin, error);
}

enum bw_code course_pauses_resume_run(struct api *api, struct exchange *exchange,
                                      struct bw_error *error)
{
    return course_pauses_about_run(api, exchange, pause_resume, error);
}

/* ---- Assignments and courses ---- */

static const char *course_pauses_assignment(const struct exchange *exchange,
                                            char name[PAUSE_NAME_SIZE])
{
    const struct request *request = exchange_request(exchange);
    return pause_assignment_name(request->parts[0], request->parts[1], name);
}

/* An assignment is one that has a config. */
static enum bw_code course_pauses_find_assignment(struct api *api, const struct exchange *exchange,
                                                  struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    char *text;
    size_t length;
    enum bw_code code = grading_config_store_get(api->grading_config_store, request->parts[0],
                                                 request->parts[1], &text, &length, error);
    if (code == BW_OK)
        free(text);
    return code == BW_NOT_FOUND ? BW_BAD_REQUEST : code;
}

enum bw_code course_pauses_begin_assignment(struct api *api, struct exchange *exchange,
                                            struct bw_error *error)
{
    char name[PAUSE_NAME_SIZE];
    enum bw_code code = course_pauses_find_assignment(api, exchange, error);
    if (code != BW_OK)
        return code;
    return course_pauses_do(api, exchange, PAUSE_ASSIGNMENT,
                            course_pauses_assignment(exchange, name), pause_begin, error);
}

enum bw_code course_pauses_resume_assignment(struct api *api, struct exchange *exchange,
                                             struct bw_error *error)
{
    char name[PAUSE_NAME_SIZE];
    return course_pauses_do(api, exchange, PAUSE_ASSIGNMENT,
                            course_pauses_assignment(exchange, name), pause_resume, error);
}

enum bw_code course_pauses_begin_course(struct api *api, struct exchange *exchange,
                                        struct bw_error *error)
{
    return course_pauses_do(api, exchange, PAUSE_COURSE, exchange_request(exchange)->parts[0],
                            pause_begin, error);
}

enum bw_code course_pauses_resume_course(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    return course_pauses_do(api, exchange, PAUSE_COURSE, exchange_request(exchange)->parts[0],
                            pause_resume, error);
}

enum bw_code course_pauses_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct pause_request request = course_pauses_request(exchange, PAUSE_COURSE, "", "");
    (void)error;
    return pause_list(api, exchange_request(exchange)->parts[0], &request);
}

/* ---- The cluster ---- */

static enum bw_code course_pauses_about_cluster(struct api *api, struct exchange *exchange,
                                                pause_step *step, struct bw_error *error)
{
    const struct pause_request request = course_pauses_request(exchange, PAUSE_CLUSTER, "",
                                                               "cluster");
    return step(api, &request, error);
}

enum bw_code course_pauses_begin_cluster(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    return course_pauses_about_cluster(api, exchange, pause_begin, error);
}

enum bw_code course_pauses_resume_cluster(struct api *api, struct exchange *exchange,
                                          struct bw_error *error)
{
    return course_pauses_about_cluster(api, exchange, pause_resume, error);
}

enum bw_code course_pauses_list_all(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct pause_request request = course_pauses_request(exchange, PAUSE_CLUSTER, "", "");
    (void)error;
    return pause_list(api, "", &request);
}

/* ---- Graders ---- */

static struct pause_request course_pauses_worker(struct exchange *exchange)
{
    return course_pauses_request(exchange, PAUSE_WORKER, exchange_request(exchange)->parts[0],
                                 "cluster");
}

enum bw_code course_pauses_begin_worker(struct api *api, struct exchange *exchange,
                                        struct bw_error *error)
{
    const struct pause_request request = course_pauses_worker(exchange);
    return pause_begin(api, &request, error);
}

enum bw_code course_pauses_resume_worker(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    const struct pause_request request = course_pauses_worker(exchange);
    return pause_resume(api, &request, error);
}

enum bw_code course_pauses_show_worker(struct api *api, struct exchange *exchange,
                                       struct bw_error *error)
{
    const struct pause_request request = course_pauses_worker(exchange);
    (void)error;
    return pause_show_worker(api, &request);
}
