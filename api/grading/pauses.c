#include "api/grading/pauses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/exchange.h"
#include "api/uplink/scheduler_queries.h"
#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/db/database.h"
#include "common/store/pause_store.h"
#include "common/store/worker_store.h"

const struct json_field pause_fields[] = {
    PAUSE_NOTE_FIELD,
    PAUSE_TIMEOUT_FIELD,
    {.name = NULL},
};

const struct json_field pause_list_fields[] = {
    {.name = "offset", .kind = FIELD_INTEGER, .minimum = 0, .maximum = INT32_MAX},
    {.name = NULL},
};

enum bw_code pause_note_check(const json_t *value, const char *path, const void *context,
                              struct bw_error *error)
{
    (void)context;
    for (const char *at = json_string_value(value); *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must not have control characters", path);
    return BW_OK;
}

/* ---- Answers that wait for the scheduler ---- */

struct pause_answer {
    struct exchange *exchange;
    json_t *data; /* own; NULL: the scheduler's answer is passed on */
    void (*answer)(struct exchange *exchange, json_t *data);
};

static const struct bw_error unanswered = {"no scheduler answered: try again"},
                             unconfirmed =
                                 {"it is stored, but no scheduler has confirmed it in time: try "
                                  "again, until then jobs may still be handed out as before"},
                             unknown_worker = {"there is no grader with this id"};

/* An earlier version's scheduler answers null. */
static void pause_answered(enum bw_code code, const struct query_answer *answer, void *context)
{
    struct pause_answer own = *(struct pause_answer *)context;
    free(context);
    bool is_own = own.data != NULL, is_known = code == BW_OK && json_is_object(answer->value);
    if (!is_known) {
        json_decref(own.data);
        exchange_refuse(own.exchange, BW_UNAVAILABLE, is_own ? &unconfirmed : &unanswered);
        return;
    }
    if (!is_own && json_object_get(answer->value, "unknown") != NULL) {
        exchange_refuse(own.exchange, BW_BAD_REQUEST, &unknown_worker);
        return;
    }
    own.answer(own.exchange, is_own ? own.data : json_deep_copy(answer->value));
}

/* Asks the scheduler; its answer, or `data` (stolen), answers the exchange. */
static enum bw_code pause_ask(struct api *api, const struct pause_request *request,
                              enum query_kind kind, const char *subject, int64_t offset,
                              json_t *data)
{
    struct pause_answer *answer = bw_alloc(sizeof *answer);
    *answer = (struct pause_answer){request->exchange, data, request->answer};
    struct query query = {.kind = kind,
                          .epoch = offset,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = pause_answered,
                          .context = answer};
    snprintf(query.subject, sizeof query.subject, "%s", subject);
    scheduler_queries_ask(api->queries, &query);
    return BW_PENDING;
}

enum bw_code pause_confirm(struct api *api, struct exchange *exchange,
                           void (*answer)(struct exchange *exchange, json_t *data), json_t *data)
{
    return pause_ask(api, &(struct pause_request){.exchange = exchange, .answer = answer},
                     QUERY_PAUSES, "", 0, data);
}

/* ---- Checks ---- */

static enum bw_code pause_refuse_run(const struct run *run, struct bw_error *error)
{
    return bw_fail(error, BW_CONFLICT, "the grading run '%s' is over: it is %s", run->id,
                   run_phase_name(run->phase));
}

/* Whoever writes a pause of a run reads the run again after the write. */
static void pause_forget_run(struct api *api, const char *run_id)
{
    struct bw_error unused;
    if (pause_store_delete_run(api->pause_store, run_id, &unused) != BW_OK)
        log_warning("the pauses of a run that is over were not deleted",
                    log_text("run_id", run_id));
}

/* A run that is over can be neither paused nor resumed; its pauses are deleted. */
static enum bw_code pause_check_run(struct api *api, const struct pause_request *request,
                                    struct bw_error *error)
{
    struct run run;
    if (request->kind != PAUSE_RUN)
        return BW_OK;
    enum bw_code code = run_store_read(api->run_store, request->name, &run, error);
    if (code != BW_OK)
        return code;
    if (run.finished_ms != 0 || run_phase_is_over(run.phase)) {
        pause_forget_run(api, run.id);
        code = pause_refuse_run(&run, error);
    }
    run_clear(&run);
    return code;
}

static void pause_take_worker(const struct worker *worker, void *context)
{
    (void)worker;
    *(bool *)context = true;
}

static enum bw_code pause_check_worker(struct api *api, const struct pause_request *request,
                                       struct bw_error *error)
{
    bool is_there = false;
    if (request->kind != PAUSE_WORKER)
        return BW_OK;
    enum bw_code code = worker_store_find(api->worker_store, &request->name, 1, pause_take_worker,
                                          &is_there, error);
    return code == BW_OK && !is_there ? bw_fail(error, BW_BAD_REQUEST, "%s", unknown_worker.message)
                                      : code;
}

/* ---- Pausing and resuming ---- */

struct drain_search {
    int64_t date_ms;
    bool is_drain;
};

static void pause_take_drain(const struct pause *pause, void *context)
{
    struct drain_search *search = context;
    search->is_drain = pause->is_drain && pause_is_in_force(pause, search->date_ms);
}

/* Whether the pause is a drain. One that is repeated stays what it was, unless it says otherwise.
 */
static enum bw_code pause_find_drain(struct api *api, const struct pause_request *request,
                                     bool *is_drain, struct bw_error *error)
{
    const json_t *drain = json_object_get(request->arguments, "drain");
    struct drain_search search = {.date_ms = database_now_ms(api->database),
                                  .is_drain = json_is_true(drain)};
    char ids[1][PAUSE_ID_SIZE];
    enum bw_code code = BW_OK;
    pause_id(request->kind, request->name, false, ids[0]);
    if (request->kind == PAUSE_WORKER && drain == NULL)
        code = pause_store_find(api->pause_store, (const char(*)[PAUSE_ID_SIZE])ids, 1,
                                pause_take_drain, &search, error);
    *is_drain = search.is_drain;
    return code;
}

static void pause_fill(const struct pause_request *request, bool is_drain, struct pause *pause)
{
    const char *note = json_string_value(json_object_get(request->arguments, "note"));
    *pause = (struct pause){.kind = request->kind, .is_drain = is_drain};
    snprintf(pause->name, sizeof pause->name, "%s", request->name);
    snprintf(pause->by, sizeof pause->by, "%s", request->by);
    snprintf(pause->note, sizeof pause->note, "%s", note != NULL ? note : "");
}

/* The id of a classic worker is its credential. */
static void pause_log(const struct pause_request *request, const char *event)
{
    bool is_secret = request->kind == PAUSE_WORKER && is_hex_id(request->name, WORKER_ID_LENGTH);
    char name[PAUSE_NAME_SIZE];
    snprintf(name, sizeof name, "%.*s", is_secret ? WORKER_SHOWN_LENGTH : PAUSE_NAME_SIZE - 1,
             request->name);
    log_info(event, log_text("kind", pause_kind_name(request->kind)), log_text("name", name),
             log_text("by", request->by));
}

enum bw_code pause_begin(struct api *api, const struct pause_request *request,
                         struct bw_error *error)
{
    struct pause pause;
    bool is_drain = false;
    int64_t seconds = json_integer_value(json_object_get(request->arguments, "timeout"));
    enum bw_code code = pause_check_run(api, request, error);
    if (code == BW_OK)
        code = pause_check_worker(api, request, error);
    if (code == BW_OK)
        code = pause_find_drain(api, request, &is_drain, error);
    if (code != BW_OK)
        return code;
    pause_fill(request, is_drain, &pause);
    code = pause_store_put(api->pause_store, &pause, seconds * 1000, error);
    if (code != BW_OK)
        return code;
    code = pause_check_run(api, request, error);
    if (code != BW_CONFLICT)
        exchange_carried_out(request->exchange);
    if (code != BW_OK)
        return code;
    pause_log(request, "paused");
    return pause_ask(api, request, QUERY_PAUSES, "", 0,
                     json_pack("{s:o}", "paused", pause_json(&pause)));
}

enum bw_code pause_resume(struct api *api, const struct pause_request *request,
                          struct bw_error *error)
{
    struct run run = {.id = ""};
    json_t *left = NULL;
    enum bw_code code = pause_check_run(api, request, error);
    if (code == BW_OK)
        code = pause_store_resume(api->pause_store, request->kind, request->name, error);
    if (code == BW_OK)
        code = pause_check_run(api, request, error);
    if (code == BW_OK)
        exchange_carried_out(request->exchange);
    if (code == BW_OK && request->kind == PAUSE_RUN)
        code = run_store_read(api->run_store, request->name, &run, error);
    if (code == BW_OK && request->kind == PAUSE_RUN) {
        code = pause_of_run(api, &run, &left, error);
        run_clear(&run);
    }
    if (code != BW_OK)
        return code;
    pause_log(request, "resumed");
    bool is_worker = request->kind == PAUSE_WORKER;
    return pause_ask(api, request, is_worker ? QUERY_RESUMED : QUERY_PAUSES,
                     is_worker ? request->name : "", 0,
                     json_pack("{s:o}", "paused", left != NULL ? left : json_null()));
}

/* ---- Reading ---- */

enum { PAUSES_OF_RUN = 5 };

struct pauses_found {
    char ids[PAUSES_OF_RUN][PAUSE_ID_SIZE];
    struct pause pause; /* the one with the lowest number so far */
    size_t number;
    int64_t date_ms;
};

static void pause_take(const struct pause *pause, void *context)
{
    struct pauses_found *found = context;
    char id[PAUSE_ID_SIZE];
    size_t number = 0;
    pause_id(pause->kind, pause->name, pause->is_automatic, id);
    while (number < found->number && strcmp(found->ids[number], id) != 0)
        number++;
    if (number == found->number || !pause_is_in_force(pause, found->date_ms))
        return;
    found->pause = *pause;
    found->number = number;
}

enum bw_code pause_of_run(struct api *api, const struct run *run, json_t **shown,
                          struct bw_error *error)
{
    struct pauses_found found = {.number = PAUSES_OF_RUN,
                                 .date_ms = database_now_ms(api->database)};
    char assignment[PAUSE_NAME_SIZE];
    *shown = NULL;
    if (run->finished_ms != 0 || run_phase_is_over(run->phase))
        return BW_OK;
    pause_assignment_name(run->course, run->assignment, assignment);
    pause_id(PAUSE_RUN, run->id, false, found.ids[0]);
    pause_id(PAUSE_RUN, run->id, true, found.ids[1]);
    pause_id(PAUSE_ASSIGNMENT, assignment, false, found.ids[2]);
    pause_id(PAUSE_COURSE, run->course, false, found.ids[3]);
    pause_id(PAUSE_CLUSTER, "", false, found.ids[4]);
    enum bw_code code = pause_store_find(api->pause_store, (const char(*)[PAUSE_ID_SIZE])found.ids,
                                         PAUSES_OF_RUN, pause_take, &found, error);
    if (code == BW_OK && found.number < PAUSES_OF_RUN)
        *shown = pause_json(&found.pause);
    return code;
}

enum bw_code pause_list(struct api *api, const char *course, const struct pause_request *request)
{
    return pause_ask(api, request, QUERY_PAUSE_LIST, course,
                     json_integer_value(json_object_get(request->arguments, "offset")), NULL);
}

enum bw_code pause_show_worker(struct api *api, const struct pause_request *request)
{
    return pause_ask(api, request, QUERY_WORKER, request->name, 0, NULL);
}
