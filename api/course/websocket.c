#include "api/course/websocket.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/course/grader.h"
#include "api/grading/socket_jobs.h"
#include "api/http/exchange_internal.h"
#include "api/http/thread_pool.h"
#include "api/grading/grader_limits.h"
#include "api/grading/held_jobs.h"
#include "api/grading/inflight.h"
#include "api/grading/job_return.h"
#include "api/grading/log_chunk_request.h"
#include "api/options.h"
#include "api/grading/poll_table.h"
#include "api/uplink/scheduler_queries.h"
#include "api/grading/registration.h"
#include "api/grading/worker_fault.h"
#include "api/uplink/signals.h"
#include "api/websocket/handshake.h"
#include "api/websocket/server.h"
#include "api/grading/result_submission.h"
#include "api/grading/socket_inflight.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/json_mend.h"
#include "common/base/json_write.h"
#include "common/db/database.h"

enum { DRAIN_MS = 2000, END_TIMEOUT_MS = 30000, INLINE_MESSAGE_MAX = 64 * 1024 };

/* Chunks of logs of one socket: those that are stored at a time, and those that may wait. */
enum { CHUNKS_STORED = 2, CHUNKS_WAITING_MAX = 32 };

enum grader_state { GRADER_NEW, GRADER_REGISTERING, GRADER_REGISTERED };

/* A grader with a websocket: the socket's data. Used only on the sockets' thread. */
struct grader {
    struct api *api;
    enum grader_state state;
    int64_t epoch;
    bool takes_files;              /* as it registers */
    char fault[WORKER_FAULT_SIZE]; /* why it can't run jobs, as it said last; "": it is sent jobs */
    bool is_storing_fault;         /* what it said is being stored, */
    bool has_other_fault;          /* and it has said something else since */
    int64_t poll;                  /* its entry in poll_table; 0: the grader is not waiting */
    char job[JOB_ID_SIZE];         /* the job that it was sent and has not finished; "": none */
    bool wants_cancels;            /* by its registration: it is told of a job that it has lost */
    int64_t checked_ms;            /* clock_boot_ms of the last check whether it has */
    unsigned pending;              /* messages in handling; the grader is freed only at 0 */
    unsigned chunks_stored, chunks_waiting;
    struct task *chunks; /* that wait; each is pending */
    bool has_ended;
    int64_t end_token; /* of socket_inflight, from the end of the socket until the scheduler has
                          recorded it */
};

/* An operation that leaves the sockets' thread and is posted back. It counts as in flight, except
 * for the end of a socket: a shutdown does not wait for the scheduler's answer to that. */
struct task {
    struct api *api;
    uint64_t socket;
    struct grader *grader; /* for a message; used only on the sockets' thread */
    bool is_end;           /* the task reports the end of a socket to the scheduler */
    enum bw_code code;
    int64_t epoch;
    int64_t token;
    char worker[WORKER_ID_SIZE];
    char job[JOB_ID_SIZE];
    json_t *body;             /* own: a result, or a chunk of a log */
    bool is_log;              /* the message is a chunk of a log: its refusal fails no job */
    bool is_fault;            /* the message is a fault: the same */
    struct task *prev, *next; /* of the grader's chunks that wait */
    struct json_mend_report mended;
    enum bw_code refused; /* not BW_OK: the message is refused, as `refusal` says */
    struct bw_error refusal;
    char *text;          /* own */
    struct body message; /* the message to be read; its hold also counts the parsed message */
};

static struct task *socket_task_new(struct api *api, const struct socket *socket)
{
    struct task *task = bw_alloc(sizeof *task);
    task->api = api;
    inflight_begin(api);
    if (socket != NULL) {
        task->socket = socket_number(socket);
        snprintf(task->worker, sizeof task->worker, "%s", socket_name(socket));
    }
    return task;
}

static void socket_task_free(struct task *task)
{
    struct api *api = task->api;
    bool is_inflight = !task->is_end;
    json_decref(task->body);
    body_clear(&task->message);
    free(task->text);
    free(task);
    if (is_inflight)
        inflight_end(api);
}

/* Runs function(task) on the sockets' thread. */
static void task_post_back(struct task *task, void (*function)(void *argument))
{
    sockets_post(task->api->sockets, false, function, task);
}

/* ---- Waiting for work ---- */

/* Parks the grader in poll_table, unless it is parked already, has a job, or can't run jobs. */
static void course_websocket_wait_for_work(struct socket *socket, struct grader *grader)
{
    if (grader->poll == 0 && grader->job[0] == '\0' && grader->fault[0] == '\0')
        grader->poll = poll_table_park_socket(grader->api->polls, socket_number(socket),
                                              socket_name(socket));
}

/* Sends the grader its job. */
static void course_websocket_give(struct socket *socket, struct grader *grader,
                                  const struct task *task)
{
    snprintf(grader->job, sizeof grader->job, "%s", task->job);
    grader->checked_ms = clock_boot_ms();
    if (grader->wants_cancels)
        socket_jobs_add(task->api->socket_jobs, task->job, socket_name(socket), task->socket);
    socket_send(socket, task->text, strlen(task->text));
}

static void course_websocket_push(void *argument)
{
    struct task *task = argument;
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    if (socket != NULL) {
        struct grader *grader = socket_data(socket);
        /* It may wait by another poll, if it had a fault for a moment. */
        poll_table_leave(grader->api->polls, grader->poll);
        grader->poll = 0;
        if (task->text == NULL) {
            course_websocket_wait_for_work(socket, grader);
        } else {
            course_websocket_give(socket, grader, task);
        }
    }
    socket_task_free(task);
}

void course_socket_push(struct api *api, uint64_t socket, const char *job, char *payload,
                        struct memory_hold *hold)
{
    struct task *task = socket_task_new(api, NULL);
    task->socket = socket;
    task->text = payload;
    task->message.hold = *hold;
    *hold = (struct memory_hold){.budget = NULL};
    snprintf(task->job, sizeof task->job, "%s", job);
    task_post_back(task, course_websocket_push);
}

/* ---- Jobs that graders have lost ---- */

/* On the sockets' thread. The grader waits for work again when it has sent a result of the job, or
 * returned it, which is refused. */
static void course_websocket_cancel(void *argument)
{
    struct task *task = argument;
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    const struct grader *grader = socket != NULL ? socket_data(socket) : NULL;
    char text[120];
    if (grader != NULL && strcmp(grader->job, task->job) == 0) {
        snprintf(text, sizeof text,
                 "{\"type\": \"cancel\", \"args\": {\"grading_job_id\": \"%s\"}}", task->job);
        socket_send(socket, text, strlen(text));
        socket_jobs_remove(task->api->socket_jobs, task->job, task->socket);
    }
    socket_task_free(task);
}

static void course_websocket_job_checked(void *context, const struct held_job *jobs, size_t count)
{
    struct task *task = context;
    (void)count;
    if (jobs[0].is_lost)
        task_post_back(task, course_websocket_cancel);
    else
        socket_task_free(task);
}

void course_socket_check_job(struct api *api, const char *worker, const char *job)
{
    struct held_job held = {.is_lost = false};
    uint64_t socket = socket_jobs_find(api->socket_jobs, job, worker);
    if (socket == 0 || atomic_load(&api->is_draining) || database_is_unavailable(api->database))
        return;
    struct task *task = socket_task_new(api, NULL);
    task->socket = socket;
    snprintf(task->job, sizeof task->job, "%s", job);
    snprintf(held.id, sizeof held.id, "%s", job);
    held_jobs_ask(api->held_jobs, worker, &held, 1, course_websocket_job_checked, task);
}

/* ---- The end of a socket ---- */

static void course_websocket_end_recorded(enum bw_code code, const struct query_answer *answer,
                                          void *context)
{
    struct task *task = context;
    (void)code, (void)answer;
    socket_inflight_end(task->api->socket_inflight, task->token);
    socket_task_free(task);
}

/* Reports the end to the scheduler. It answers when the jobs that the worker held are recorded as
 * lost. */
static void course_websocket_report_end(struct api *api, const char *worker, int64_t epoch,
                                        int64_t token)
{
    struct task *task = socket_task_new(api, NULL);
    struct query query = {.kind = QUERY_ENDED,
                          .epoch = epoch,
                          .request_timeout_ms = END_TIMEOUT_MS,
                          .answered = course_websocket_end_recorded,
                          .context = task};
    snprintf(query.subject, sizeof query.subject, "%s", worker);
    task->token = token;
    task->is_end = true;
    inflight_end(api);
    scheduler_queries_ask(api->queries, &query);
}

/* Reports the end of the grader's socket and frees the grader, once the results that it sent before
 * are handled, since they count. */
static void grader_leave(struct grader *grader, const char *worker)
{
    if (!grader->has_ended || grader->pending > 0)
        return;
    if (grader->state == GRADER_REGISTERED)
        course_websocket_report_end(grader->api, worker, grader->epoch, grader->end_token);
    else
        socket_inflight_end(grader->api->socket_inflight, grader->end_token);
    free(grader);
}

static void course_websocket_ended(struct socket *socket, void *context)
{
    struct api *api = context;
    struct grader *grader = socket_data(socket);
    if (grader->poll != 0)
        poll_table_leave(api->polls, grader->poll);
    socket_jobs_remove(api->socket_jobs, grader->job, socket_number(socket));
    grader->has_ended = true;
    grader->end_token = socket_inflight_begin(api->socket_inflight);
    grader_leave(grader, socket_name(socket));
}

/* Ends the handling of a message. */
static void finish_message(struct task *task)
{
    task->grader->pending--;
    grader_leave(task->grader, task->worker);
    socket_task_free(task);
}

/* ---- Registering ---- */

static void accept_registration(struct socket *socket, struct grader *grader, int64_t epoch)
{
    static const char success[] = "{\"success\": true}",
                      with_files[] = "{\"success\": true, \"files\": \"" GRADER_FILES "\"}";
    const char *answer = grader->takes_files ? with_files : success;
    grader->state = GRADER_REGISTERED;
    grader->epoch = epoch;
    socket_trust(socket);
    /* Parked before the grader knows that it is registered, so that it waits for work by then. */
    course_websocket_wait_for_work(socket, grader);
    socket_send(socket, answer, strlen(answer));
}

static void course_websocket_reject(struct socket *socket, enum bw_code code)
{
    static const char failure[] = "{\"success\": false}";
    char reason[100];
    if (code != BW_CONFLICT) {
        socket_close(socket, SOCKET_TRY_AGAIN, "registration is unavailable: try again");
        return;
    }
    snprintf(reason, sizeof reason, "worker id '%.60s' already exists", socket_name(socket));
    socket_send(socket, failure, sizeof failure - 1);
    socket_close(socket, SOCKET_PROTOCOL_ERROR, reason);
}

static void finish_registration(void *argument)
{
    struct task *task = argument;
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    if (socket == NULL && task->code == BW_OK)
        course_websocket_report_end(task->api, task->worker, task->epoch,
                                    socket_inflight_begin(task->api->socket_inflight));
    else if (socket != NULL && task->code == BW_OK)
        accept_registration(socket, socket_data(socket), task->epoch);
    else if (socket != NULL)
        course_websocket_reject(socket, task->code);
    socket_inflight_end(task->api->socket_inflight, task->token);
    socket_task_free(task);
}

static void course_websocket_registered(enum bw_code code, int64_t epoch,
                                        const struct bw_error *error, void *context)
{
    struct task *task = context;
    (void)error;
    task->code = code;
    task->epoch = epoch;
    task_post_back(task, finish_registration);
}

static void begin_registration(struct socket *socket, struct grader *grader,
                               const json_t *arguments)
{
    struct task *task = socket_task_new(grader->api, socket);
    struct registration registration = {.completed = course_websocket_registered, .context = task};
    struct worker *worker = &registration.worker;
    worker->protocol = PROTOCOL_COURSE;
    grader->state = GRADER_REGISTERING;
    task->token = socket_inflight_begin(grader->api->socket_inflight);
    snprintf(worker->id, sizeof worker->id, "%s", socket_name(socket));
    snprintf(worker->hostname, sizeof worker->hostname, "%s",
             json_string_value(json_object_get(arguments, "hostname")));
    registration_take_texts(&registration, arguments);
    snprintf(grader->fault, sizeof grader->fault, "%s", worker->fault);
    worker->is_socket = true;
    worker->takes_files = grader->takes_files = json_is_true(json_object_get(arguments, "files"));
    worker->takes_digests = json_is_true(json_object_get(arguments, "digests"));
    worker->wants_cancels = grader->wants_cancels = json_is_true(
        json_object_get(arguments, "cancel"));
    registration_begin(grader->api, &registration);
}

/* ---- Results ---- */

/* Whether the result is stored, or will never be accepted. */
static bool is_answered(enum bw_code code)
{
    return code == BW_OK || code == BW_CONFLICT || code == BW_TOO_LARGE;
}

/* Closes the socket of a message that can't be accepted. */
static void close_refused(struct socket *socket, const struct task *task)
{
    if (task->refused == BW_TOO_LARGE)
        socket_close(socket, SOCKET_TOO_LARGE, task->refusal.message);
    else if (task->refused == BW_UNAVAILABLE)
        socket_close(socket, SOCKET_TRY_AGAIN, "too many large messages are in flight");
    else
        socket_close(socket, SOCKET_INTERNAL_ERROR, "internal error");
}

/* Ends the handling of a result. The grader waits for work again, or its socket is closed. */
static void finish_result(void *argument)
{
    struct task *task = argument;
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    if (socket != NULL) {
        struct grader *grader = socket_data(socket);
        if (strcmp(grader->job, task->job) == 0) {
            socket_jobs_remove(task->api->socket_jobs, task->job, task->socket);
            grader->job[0] = '\0';
        }
        if (task->refused != BW_OK)
            close_refused(socket, task);
        else if (is_answered(task->code))
            course_websocket_wait_for_work(socket, grader);
        else if (task->code == BW_NOT_FOUND)
            socket_close(socket, SOCKET_PROTOCOL_ERROR, "job with the given ID not found");
        else
            socket_close(socket, SOCKET_INTERNAL_ERROR, "internal error");
    }
    finish_message(task);
}

static void course_websocket_result_completed(enum bw_code code, const struct bw_error *error,
                                              void *context)
{
    struct task *task = context;
    (void)error;
    task->code = code;
    socket_inflight_end(task->api->socket_inflight, task->token);
    task_post_back(task, finish_result);
}

static void course_websocket_return(struct task *task)
{
    struct bw_error error;
    const struct job_return_request returned = {
        .job = task->job,
        .worker = task->worker,
        .arguments = task->body,
        .protocol = PROTOCOL_COURSE,
        .completed = course_websocket_result_completed,
        .context = task,
    };
    enum bw_code code = job_return_begin(task->api, &returned, &error);
    if (code != BW_OK)
        course_websocket_result_completed(code, &error, task);
}

static void course_websocket_submit(struct task *task)
{
    struct bw_error error;
    struct result_submission_request submitted = {
        .job = task->job,
        .worker = task->worker,
        .is_success = json_is_true(json_object_get(task->body, "success")),
        .result = json_object_get(task->body, "results"),
        .logs = json_object_get(task->body, "logs"),
        .files = json_object_get(task->body, "files"),
        .scores = task->body,
        .mended = &task->mended,
        .protocol = PROTOCOL_COURSE,
        .completed = course_websocket_result_completed,
        .context = task,
    };
    enum bw_code code = result_submission_begin(task->api, &submitted, &error);
    if (code != BW_OK)
        course_websocket_result_completed(code, &error, task);
}

/* ---- Messages ---- */

static const struct json_field message_fields[] = {
    {.name = "type", .kind = FIELD_STRING, .is_required = true},
    {.name = "args", .kind = FIELD_OBJECT, .is_required = true},
    {.name = NULL},
};

static const struct json_field register_fields[] = {
    {.name = "hostname", .kind = FIELD_STRING, .is_required = true, .maximum = HOSTNAME_SIZE - 1},
    {.name = "files", .kind = FIELD_BOOLEAN},
    {.name = "digests", .kind = FIELD_BOOLEAN},
    {.name = "tags", .kind = FIELD_STRING, .check = worker_tags_check},
    {.name = "fault", .kind = FIELD_STRING, .check = worker_fault_check},
    {.name = "cancel", .kind = FIELD_BOOLEAN},
    {.name = NULL},
};

static const struct json_field log_fields[] = {
    {.name = "grading_job_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "stream", .kind = FIELD_STRING, .is_required = true, .check = log_stream_check},
    {.name = "offset", .kind = FIELD_INTEGER, .is_required = true, .maximum = LOG_OFFSET_MAX},
    {.name = "text",
     .kind = FIELD_STRING,
     .is_required = true,
     .minimum = 1,
     .maximum = LOG_CHUNK_BYTES},
    {.name = NULL},
};

static const struct json_field fault_fields[] = {
    {.name = "fault", .kind = FIELD_STRING, .is_required = true, .check = worker_fault_check},
    {.name = NULL},
};

/* Messages beside results, which have a check of their own. */
static const struct message_kind {
    const char *type, *what; /* in sentences */
    const struct json_field *fields;
} message_kinds[] = {
    {"register", "registration", register_fields},
    {"job_log", "chunk of a log", log_fields},
    {"fault", "fault", fault_fields},
};

static const struct message_kind *find_message_kind(const char *type)
{
    for (size_t i = 0; i < sizeof message_kinds / sizeof *message_kinds; i++)
        if (strcmp(type, message_kinds[i].type) == 0)
            return &message_kinds[i];
    return NULL;
}

/* Checks that a message is {"type", "args"} without other keys, and its args by the type. Only
 * results may be repaired. */
static enum bw_code check_message(const json_t *message, const struct json_mend_report *mended,
                                  struct bw_error *error)
{
    char note[JSON_NOTE_SIZE];
    enum bw_code code = json_check(message, message_fields, "", NULL, error);
    if (code != BW_OK)
        return code;
    const json_t *arguments = json_object_get(message, "args");
    const char *type = json_string_value(json_object_get(message, "type"));
    if (strcmp(type, "job_result") == 0)
        return course_result_check(arguments, "args", error);
    const struct message_kind *kind = find_message_kind(type);
    if (kind == NULL)
        return bw_fail(error, BW_BAD_REQUEST,
                       "type: must be 'register', 'job_result', 'job_log' or 'fault'");
    if (json_mend_note(mended, note)[0] != '\0')
        return bw_fail(error, BW_BAD_REQUEST, "a %s must be valid JSON", kind->what);
    return json_check(arguments, kind->fields, "args", NULL, error);
}

/* Parses and checks the message: sets task->body; or task->refused and task->refusal, with the job
 * that the message names, if one can be found. */
static void read_message(struct task *task)
{
    static const struct json_mend_limits limits = {.envelope = 2,
                                                   .max_values = JSON_MEND_MAX_VALUES};
    const struct json_limits cost = {
        .count = ROUTE_RESULT_COUNT, .take = body_take_parsed, .context = &task->message};
    struct bw_error *refusal = &task->refusal;
    const char *text = task->message.bytes != NULL ? task->message.bytes : "";
    size_t length = task->message.length;
    task->refused = json_parse_mended(text, length, "the message", &limits, &cost, &task->body,
                                      &task->mended, refusal);
    const char *type = json_string_value(json_object_get(task->body, "type"));
    task->is_log = task->refused == BW_OK && type != NULL && strcmp(type, "job_log") == 0;
    task->is_fault = task->refused == BW_OK && type != NULL && strcmp(type, "fault") == 0;
    if (task->refused == BW_OK)
        task->refused = check_message(task->body, &task->mended, refusal);
    if (task->refused == BW_OK)
        return;
    json_decref(task->body);
    task->body = NULL;
    (void)!json_find_text(text, length, "grading_job_id", 1, task->job, sizeof task->job);
}

static void submit_message(struct task *task, json_t *arguments)
{
    task->body = json_incref(arguments);
    snprintf(task->job, sizeof task->job, "%s",
             json_string_value(json_object_get(arguments, "grading_job_id")));
    if (job_return_is_asked(arguments))
        course_websocket_return(task);
    else
        course_websocket_submit(task);
}

/* ---- Chunks of logs ---- */

/* Ends the handling of a chunk; only a refusal is answered. */
static void finish_log(struct task *task)
{
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    if (socket != NULL && task->refused != BW_OK) {
        json_auto_t *refusal = json_pack("{s:s,s:{s:s,s:s}}", "type", "log_refused", "args",
                                         "grading_job_id", task->job, "reason",
                                         task->refusal.message);
        char *text = json_write(refusal, 0);
        socket_send(socket, text, strlen(text));
        free(text);
    }
    finish_message(task);
}

static void store_log(void *argument);
static void drop_log(void *argument);

/* Hands chunks that wait to the thread pool, few at a time: its queue belongs to all. */
static void store_waiting_logs(struct grader *grader)
{
    while (grader->chunks != NULL && grader->chunks_stored < CHUNKS_STORED) {
        struct task *task = grader->chunks;
        DL_DELETE(grader->chunks, task);
        grader->chunks_waiting--;
        grader->chunks_stored++;
        thread_pool_submit_or_wait(grader->api->thread_pool, store_log, drop_log, task);
    }
}

static void finish_stored_log(void *argument)
{
    struct task *task = argument;
    task->grader->chunks_stored--;
    store_waiting_logs(task->grader);
    finish_log(task);
}

static void store_log(void *argument)
{
    struct task *task = argument;
    const json_t *text = json_object_get(task->body, "text");
    const struct log_chunk_request sent = {
        .job = task->job,
        .worker = task->worker,
        .stream = json_string_value(json_object_get(task->body, "stream")),
        .protocol = PROTOCOL_COURSE,
        .chunk = {.offset = json_integer_value(json_object_get(task->body, "offset")),
                  .bytes = json_string_value(text),
                  .length = json_string_length(text)},
    };
    int64_t unused;
    task->refused = log_chunk_receive(task->api, &sent, &unused, &task->refusal);
    task_post_back(task, finish_stored_log);
}

/* The thread pool has closed. */
static void drop_log(void *argument)
{
    struct task *task = argument;
    task->refused = bw_fail(&task->refusal, BW_UNAVAILABLE, "the server is stopping");
    task_post_back(task, finish_stored_log);
}

/* Takes a chunk of a log: a hint, for which no status waits. */
static void take_log(struct socket *socket, struct task *task, json_t *arguments)
{
    socket_inflight_end(task->api->socket_inflight, task->token);
    if (task->grader->state != GRADER_REGISTERED || socket == NULL) {
        if (socket != NULL)
            socket_close(socket, SOCKET_PROTOCOL_ERROR, "worker has not registered");
        finish_message(task);
        return;
    }
    if (task->refused == BW_OK)
        snprintf(task->job, sizeof task->job, "%s",
                 json_string_value(json_object_get(arguments, "grading_job_id")));
    if (task->refused == BW_OK && task->grader->chunks_waiting == CHUNKS_WAITING_MAX)
        task->refused = bw_fail(&task->refusal, BW_UNAVAILABLE,
                                "%d chunks of this grader wait here already", CHUNKS_WAITING_MAX);
    if (task->refused != BW_OK) {
        finish_log(task);
        return;
    }
    task->body = json_incref(arguments);
    DL_APPEND(task->grader->chunks, task);
    task->grader->chunks_waiting++;
    store_waiting_logs(task->grader);
}

/* ---- Faults ---- */

static void store_fault(struct task *task);

/* Closes the socket of a grader whose fault can't be stored: it says so again as it registers. */
static void finish_fault(void *argument)
{
    struct task *task = argument;
    struct grader *grader = task->grader;
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    grader->is_storing_fault = false;
    if (socket != NULL && task->code == BW_OK && grader->has_other_fault) {
        store_fault(task);
        return;
    }
    if (socket != NULL && task->code != BW_OK)
        socket_close(socket, SOCKET_TRY_AGAIN, "the fault could not be stored: try again");
    finish_message(task);
}

static void course_websocket_fault_stored(enum bw_code code, const struct bw_error *error,
                                          void *context)
{
    struct task *task = context;
    (void)error;
    task->code = code;
    task_post_back(task, finish_fault);
}

/* Stores what the grader said last: one write at a time, so that the last one is written last. */
static void store_fault(struct task *task)
{
    struct grader *grader = task->grader;
    struct worker_fault said = {
        .epoch = grader->epoch, .completed = course_websocket_fault_stored, .context = task};
    snprintf(said.worker, sizeof said.worker, "%s", task->worker);
    snprintf(said.fault, sizeof said.fault, "%s", grader->fault);
    grader->is_storing_fault = true;
    grader->has_other_fault = false;
    worker_fault_store(task->api, &said);
}

static void note_fault(struct socket *socket, struct grader *grader, const char *fault)
{
    snprintf(grader->fault, sizeof grader->fault, "%s", fault);
    if (fault[0] == '\0') {
        course_websocket_wait_for_work(socket, grader);
        return;
    }
    poll_table_leave(grader->api->polls, grader->poll);
    grader->poll = 0;
}

/* Takes what a grader says of itself: a registered one gets jobs only while it has no fault. */
static void take_fault(struct socket *socket, struct task *task, const json_t *arguments)
{
    struct grader *grader = task->grader;
    socket_inflight_end(task->api->socket_inflight, task->token);
    if (socket != NULL && grader->state != GRADER_REGISTERED) {
        socket_close(socket, SOCKET_PROTOCOL_ERROR, "worker has not registered");
    } else if (socket != NULL && task->refused != BW_OK) {
        socket_close(socket, SOCKET_PROTOCOL_ERROR, task->refusal.message);
    } else if (socket != NULL) {
        note_fault(socket, grader, json_string_value(json_object_get(arguments, "fault")));
        grader->has_other_fault = true;
        if (!grader->is_storing_fault) {
            store_fault(task);
            return;
        }
    }
    finish_message(task);
}

/* ---- Results that can't be accepted ---- */

/* Fails the job of a message that can't be accepted: the job that it names, else the one that the
 * grader has. False: there is no job, the grader is not registered, or the message may be sent
 * again. */
static bool submit_refusal(struct task *task)
{
    const struct grader *grader = task->grader;
    struct bw_error unused;
    if (!is_hex_id(task->job, JOB_ID_LENGTH))
        snprintf(task->job, sizeof task->job, "%s", grader->job);
    if (grader->state != GRADER_REGISTERED || task->job[0] == '\0' ||
        task->refused == BW_UNAVAILABLE)
        return false;
    const struct result_submission_request submitted = {
        .job = task->job,
        .worker = task->worker,
        .refused = task->refused,
        .refusal = &task->refusal,
        .completed = course_websocket_result_completed,
        .context = task};
    enum bw_code code = result_submission_begin(task->api, &submitted, &unused);
    if (code != BW_OK)
        course_websocket_result_completed(code, &unused, task);
    return true;
}

/* Handles a message of an open socket. False: it is a result, which was submitted and completes
 * later. */
static bool handle_report(struct socket *socket, struct task *task, const json_t *message)
{
    struct grader *grader = task->grader;
    json_t *arguments = json_object_get(message, "args");
    bool is_register = json_object_get(arguments, "grading_job_id") == NULL;
    if (message == NULL) {
        close_refused(socket, task);
    } else if (is_register && grader->state != GRADER_NEW) {
        socket_close(socket, SOCKET_INTERNAL_ERROR, "internal error");
    } else if (is_register) {
        begin_registration(socket, grader, arguments);
    } else if (grader->state != GRADER_REGISTERED) {
        socket_close(socket, SOCKET_PROTOCOL_ERROR, "worker has not registered");
    } else {
        submit_message(task, arguments);
        return false;
    }
    return true;
}

/* Handles a message that was read. A result is accepted even if its socket has ended in the
 * meantime. */
static void handle_message(void *argument)
{
    struct task *task = argument;
    struct socket *socket = sockets_find(task->api->sockets, task->socket);
    json_auto_t *message = task->body;
    json_t *arguments = json_object_get(message, "args");
    bool is_late_result = socket == NULL && task->grader->state == GRADER_REGISTERED &&
                          json_object_get(arguments, "grading_job_id") != NULL;
    task->body = NULL;
    if (task->is_log) {
        take_log(socket, task, arguments);
        return;
    }
    if (task->is_fault) {
        take_fault(socket, task, arguments);
        return;
    }
    if (is_late_result) {
        submit_message(task, arguments);
        return;
    }
    if (message == NULL && submit_refusal(task))
        return;
    if (socket != NULL && !handle_report(socket, task, message))
        return;
    socket_inflight_end(task->api->socket_inflight, task->token);
    finish_message(task);
}

static void read_large(void *argument)
{
    struct task *task = argument;
    read_message(task);
    task_post_back(task, handle_message);
}

static struct task *message_new(struct api *api, struct socket *socket)
{
    struct task *task = socket_task_new(api, socket);
    task->token = socket_inflight_begin(api->socket_inflight);
    task->grader = socket_data(socket);
    task->grader->pending++;
    return task;
}

/* Handles a message that is too large. Its job fails before the socket is closed; otherwise the job
 * would be handed out again and fail in the same way. */
static void take_oversized(struct socket *socket, const char *prefix, size_t length, void *context)
{
    struct api *api = context;
    struct task *task = message_new(api, socket);
    task->refused = bw_fail(
        &task->refusal, BW_TOO_LARGE, "the message is larger than %" PRId64 " bytes",
        task->grader->state == GRADER_REGISTERED ? api->options->max_body_bytes
                                                 : (int64_t)SOCKET_STRANGER_BYTES);
    (void)!json_find_text(prefix, length, "grading_job_id", 1, task->job, sizeof task->job);
    handle_message(task);
}

/* Takes a message. A large one is parsed on the thread pool, so that it does not delay the other
 * sockets. */
static void course_websocket_take_message(struct socket *socket, struct body *message,
                                          void *context)
{
    struct api *api = context;
    struct task *task = message_new(api, socket);
    task->message = *message;
    *message = (struct body){.bytes = NULL};
    if (task->message.length <= INLINE_MESSAGE_MAX) {
        read_message(task);
        handle_message(task);
        return;
    }
    thread_pool_submit(api->thread_pool, true, read_large, task);
}

static void course_websocket_seen(struct socket *socket, void *context)
{
    struct api *api = context;
    struct grader *grader = socket_data(socket);
    int64_t now_ms = clock_boot_ms();
    if (grader->state != GRADER_REGISTERED)
        return;
    signals_seen(api->signals, socket_name(socket), SEEN_HEARTBEAT);
    if (now_ms - grader->checked_ms < api->options->heartbeat_interval_ms)
        return;
    grader->checked_ms = now_ms;
    course_socket_check_job(api, socket_name(socket), grader->job);
}

static void course_websocket_opened(struct socket *socket, void **data, void *context)
{
    struct grader *grader = bw_alloc(sizeof *grader);
    (void)socket;
    grader->api = context;
    *data = grader;
}

enum bw_code course_socket_open(struct api *api, struct bw_error *error)
{
    const struct sockets_settings settings = {
        .max_message_bytes = (size_t)api->options->max_body_bytes,
        .memory = api->memory,
        .request_timeout_ms = api->options->request_timeout_ms,
        .ping_every_ms = api->options->heartbeat_interval_ms,
        .opened = course_websocket_opened,
        .message = course_websocket_take_message,
        .oversized = take_oversized,
        .seen = course_websocket_seen,
        .ended = course_websocket_ended,
        .context = api,
    };
    return sockets_open(&settings, &api->sockets, error);
}

/* ---- Called from other threads ---- */

/* Checks the sender's token. *refusal is NULL, or, if the sender is not authorized, the new text of
 * the close frame; for too many wrong tokens the answer's Retry-After is set as well.
 * BW_UNAVAILABLE: the cluster token is not known yet; BW_INTERNAL: out of memory. Then there is no
 * upgrade. */
static enum bw_code course_socket_authorize(struct api *api, struct exchange *exchange,
                                            char **refusal, struct bw_error *error)
{
    const char *token;
    struct bw_error reason;
    enum bw_code code = auth_bearer_token(exchange, &token, &reason);
    if (code == BW_OK)
        code = auth_cluster_bearer(api->auth, exchange, token, &reason);
    if (code == BW_UNAVAILABLE)
        return bw_fail(error, code, "%s", reason.message);
    *refusal = code == BW_OK ? NULL : bw_copy(reason.message);
    return code == BW_OK || *refusal != NULL ? BW_OK : bw_fail(error, BW_INTERNAL, "out of memory");
}

enum bw_code course_socket_upgrade(struct api *api, struct exchange *exchange,
                                   const char *http_version, char accept[UPGRADE_ACCEPT_SIZE],
                                   struct bw_error *error)
{
    enum bw_code code = socket_handshake(exchange, http_version, accept, error);
    if (code == BW_OK)
        code = course_socket_authorize(api, exchange, &exchange->socket_refusal, error);
    if (code != BW_OK)
        return code;
    grader_limits_write(api->options, exchange);
    if (exchange->socket_refusal == NULL)
        exchange_prove(exchange, CONNECTION_WORKER);
    return BW_OK;
}

void course_socket_take(struct api *api, struct exchange *exchange, const struct upgraded *upgraded)
{
    sockets_take(api->sockets, &(struct socket_offer){.handle = upgraded->handle,
                                                      .fd = upgraded->fd,
                                                      .name = exchange->request.parts[0],
                                                      .extra = upgraded->extra,
                                                      .extra_length = upgraded->extra_length,
                                                      .refusal = exchange->socket_refusal});
}

/* A caller that waits until the loop has read its sockets. The caller and the loop share it; the
 * one that uses it last frees it. */
struct barrier {
    pthread_mutex_t mutex;
    pthread_cond_t passed;
    bool has_passed, is_left;
};

static void barrier_free(struct barrier *barrier)
{
    pthread_cond_destroy(&barrier->passed);
    pthread_mutex_destroy(&barrier->mutex);
    free(barrier);
}

static void barrier_pass(void *argument)
{
    struct barrier *barrier = argument;
    pthread_mutex_lock(&barrier->mutex);
    barrier->has_passed = true;
    bool is_left = barrier->is_left;
    pthread_cond_signal(&barrier->passed);
    pthread_mutex_unlock(&barrier->mutex);
    if (is_left)
        barrier_free(barrier);
}

static void wait_until_read(struct sockets *sockets)
{
    struct barrier *barrier = bw_alloc(sizeof *barrier);
    struct timespec until = clock_deadline(DRAIN_MS);
    int result = 0;
    pthread_mutex_init(&barrier->mutex, NULL);
    clock_condition_init(&barrier->passed);
    sockets_post(sockets, true, barrier_pass, barrier);
    pthread_mutex_lock(&barrier->mutex);
    while (!barrier->has_passed && result == 0)
        result = pthread_cond_timedwait(&barrier->passed, &barrier->mutex, &until);
    barrier->is_left = true;
    bool has_passed = barrier->has_passed;
    pthread_mutex_unlock(&barrier->mutex);
    if (has_passed)
        barrier_free(barrier);
}

void course_socket_drain(struct api *api)
{
    int64_t end_ms = clock_boot_ms() + DRAIN_MS;
    if (sockets_count(api->sockets) > 0)
        wait_until_read(api->sockets);
    int64_t left_ms = end_ms - clock_boot_ms();
    if (left_ms > 0)
        socket_inflight_wait(api->socket_inflight, left_ms);
}
