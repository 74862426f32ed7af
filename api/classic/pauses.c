#include "api/classic/pauses.h"

#include "api/classic/client.h"
#include "api/grading/pauses.h"
#include "api/http/exchange.h"

#define WORKER_FIELD                                                                  \
    {                                                                                 \
        .name = "worker_id", .kind = FIELD_STRING, .is_required = true, .minimum = 1, \
        .maximum = WORKER_ID_SIZE - 1                                                 \
    }

const struct json_field classic_worker_fields[] = {WORKER_FIELD, {.name = NULL}};

const struct json_field classic_worker_pause_fields[] = {
    WORKER_FIELD,   PAUSE_NOTE_FIELD, PAUSE_TIMEOUT_FIELD, {.name = "drain", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

static struct pause_request classic_pauses_request(struct exchange *exchange, enum pause_kind kind,
                                                   const char *name, const char *by)
{
    return (struct pause_request){.kind = kind,
                                  .name = name,
                                  .by = by,
                                  .arguments = exchange_request(exchange)->arguments,
                                  .exchange = exchange,
                                  .answer = exchange_answer_json};
}

/* ---- Runs ---- */

typedef enum bw_code pause_step(struct api *api, const struct pause_request *request,
                                struct bw_error *error);

/* Who sent the request. */
static const char *classic_pauses_client(const struct exchange *exchange)
{
    const char *name = exchange_token_name(exchange);
    return name[0] != '\0' ? name : "client";
}

static enum bw_code classic_pauses_about_run(struct api *api, struct exchange *exchange,
                                             pause_step *step, struct bw_error *error)
{
    struct run run;
    enum bw_code code = classic_client_read_run(api, exchange_request(exchange)->path_id, &run,
                                                error);
    if (code != BW_OK)
        return code;
    run_clear(&run);
    const struct pause_request request = classic_pauses_request(exchange, PAUSE_RUN, run.id,
                                                                classic_pauses_client(exchange));
    return step(api, &request, error);
}

enum bw_code classic_pauses_begin_run(struct api *api, struct exchange *exchange,
                                      struct bw_error *error)
{
    return classic_pauses_about_run(api, exchange, pause_begin, error);
}

enum bw_code classic_pauses_resume_run(struct api *api, struct exchange *exchange,
                                       struct bw_error *error)
{
    return classic_pauses_about_run(api, exchange, pause_resume, error);
}

/* ---- The cluster ---- */

enum bw_code classic_pauses_begin_cluster(struct api *api, struct exchange *exchange,
                                          struct bw_error *error)
{
    const struct pause_request request = classic_pauses_request(exchange, PAUSE_CLUSTER, "",
                                                                "cluster");
    return pause_begin(api, &request, error);
}

enum bw_code classic_pauses_resume_cluster(struct api *api, struct exchange *exchange,
                                           struct bw_error *error)
{
    const struct pause_request request = classic_pauses_request(exchange, PAUSE_CLUSTER, "",
                                                                "cluster");
    return pause_resume(api, &request, error);
}

enum bw_code classic_pauses_list(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct pause_request request = classic_pauses_request(exchange, PAUSE_CLUSTER, "",
                                                                "cluster");
    (void)error;
    return pause_list(api, "", &request);
}

/* ---- Graders ---- */

static struct pause_request classic_pauses_worker(struct exchange *exchange)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    return classic_pauses_request(exchange, PAUSE_WORKER,
                                  json_string_value(json_object_get(arguments, "worker_id")),
                                  "cluster");
}

enum bw_code classic_pauses_begin_worker(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    const struct pause_request request = classic_pauses_worker(exchange);
    return pause_begin(api, &request, error);
}

enum bw_code classic_pauses_resume_worker(struct api *api, struct exchange *exchange,
                                          struct bw_error *error)
{
    const struct pause_request request = classic_pauses_worker(exchange);
    return pause_resume(api, &request, error);
}

enum bw_code classic_pauses_show_worker(struct api *api, struct exchange *exchange,
                                        struct bw_error *error)
{
    const struct pause_request request = classic_pauses_worker(exchange);
    (void)error;
    return pause_show_worker(api, &request);
}
