#include "api/course/websocket.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/course/grader.h"
#include "api/http/thread_pool.h"
#include "api/grading/inflight.h"
#include "api/options.h"
#include "api/grading/poll_table.h"
#include "api/uplink/scheduler_queries.h"
#include "api/grading/registration.h"
#include "api/uplink/signals.h"
#include "api/websocket/server.h"
#include "api/grading/result_submission.h"
#include "api/grading/under_way.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/json_mend.h"

enum { SETTLE_MS = 2000, END_TIMEOUT_MS = 30000, INLINE_MESSAGE_MAX = 64 * 1024 };

enum grader_state { GRADER_NEW, GRADER_REGISTERING, GRADER_REGISTERED };

/* A grader behind a socket: its data, on the sockets' thread alone. */
struct grader {
    struct api *api;
    enum grader_state state;
    int64_t epoch;
    int64_t poll;          /* with which it waits for work; 0: it does not */
    char job[JOB_ID_SIZE]; /* what it was pushed and has not finished; "": nothing */
    unsigned pending;      /* messages that are being dealt with: they keep it, ended or not */
    bool has_ended;
    int64_t end_ticket; /* what it held counts as under way until its end is on record */
};

/* What goes to another thread and comes back. It counts as in flight, all but the end of a socket:
 * nobody waits for the scheduler's answer to that when this process stops. */
struct errand {
    struct api *api;
    uint64_t socket;
    struct grader *grader; /* of a message; for the sockets' thread alone */
    bool is_end;           /* of a socket, which the scheduler is told */
    enum bw_code code;
    int64_t epoch;
    int64_t ticket;
    char worker[WORKER_ID_SIZE];
    char job[JOB_ID_SIZE];
    json_t *body; /* a result; own */
    struct json_mend_report mended;
    enum bw_code refused; /* not BW_OK: it can't be taken, as `refusal` says */
    struct bw_error refusal;
    char *text;          /* own */
    struct body message; /* that is to be read; its hold counts what becomes of it, too */
};

static struct errand *errand_new(struct api *api, const struct socket *socket)
{
    struct errand *errand = bw_alloc(sizeof *errand);
    errand->api = api;
    inflight_begin(api);
    if (socket != NULL) {
        errand->socket = socket_number(socket);
        snprintf(errand->worker, sizeof errand->worker, "%s", socket_name(socket));
    }
    return errand;
}

static void errand_free(struct errand *errand)
{
    struct api *api = errand->api;
    bool is_inflight = !errand->is_end;
    json_decref(errand->body);
    body_clear(&errand->message);
    free(errand->text);
    free(errand);
    if (is_inflight)
        inflight_end(api);
}

/* Back on the sockets' thread. */
static void come_back(struct errand *errand, void (*function)(void *argument))
{
    sockets_post(errand->api->sockets, false, function, errand);
}

/* ---- Waiting for work ---- */

/* It waits unless it waits already, or has a job. */
static void course_websocket_wait_for_work(struct socket *socket, struct grader *grader)
{
    if (grader->poll == 0 && grader->job[0] == '\0')
        grader->poll = poll_table_park_socket(grader->api->polls, socket_number(socket),
                                              socket_name(socket));
}

static void push(void *argument)
{
    struct errand *errand = argument;
    struct socket *socket = sockets_find(errand->api->sockets, errand->socket);
    if (socket != NULL) {
        struct grader *grader = socket_data(socket);
        grader->poll = 0;
        snprintf(grader->job, sizeof grader->job, "%s", errand->job);
        socket_send(socket, errand->text, strlen(errand->text));
    }
    errand_free(errand);
}

void course_socket_push(struct api *api, uint64_t socket, const char *job, char *payload)
{
    struct errand *errand = errand_new(api, NULL);
    errand->socket = socket;
    errand->text = payload;
    snprintf(errand->job, sizeof errand->job, "%s", job);
    come_back(errand, push);
}

/* ---- The end ---- */

static void end_is_on_record(enum bw_code code, const json_t *answer, void *context)
{
    struct errand *errand = context;
    (void)code, (void)answer;
    under_way_end(errand->api->under_way, errand->ticket);
    errand_free(errand);
}

/* Tells the scheduler, which answers when what the worker held is on record as lost. */
static void course_websocket_tell_end(struct api *api, const char *worker, int64_t epoch,
                                      int64_t ticket)
{
    struct errand *errand = errand_new(api, NULL);
    struct query query = {.kind = QUERY_ENDED,
                          .epoch = epoch,
                          .request_timeout_ms = END_TIMEOUT_MS,
                          .answered = end_is_on_record,
                          .context = errand};
    snprintf(query.subject, sizeof query.subject, "%s", worker);
    errand->ticket = ticket;
    errand->is_end = true;
    inflight_end(api);
    scheduler_queries_ask(api->queries, &query);
}

/* Its end is told only behind the results that it sent before: these count. */
static void grader_leave(struct grader *grader, const char *worker)
{
    if (!grader->has_ended || grader->pending > 0)
        return;
    if (grader->state == GRADER_REGISTERED)
        course_websocket_tell_end(grader->api, worker, grader->epoch, grader->end_ticket);
    else
        under_way_end(grader->api->under_way, grader->end_ticket);
    free(grader);
}

static void ended(struct socket *socket, void *context)
{
    struct api *api = context;
    struct grader *grader = socket_data(socket);
    if (grader->poll != 0)
        poll_table_leave(api->polls, grader->poll);
    grader->has_ended = true;
    grader->end_ticket = under_way_begin(api->under_way);
    grader_leave(grader, socket_name(socket));
}

/* A message has been dealt with. */
static void finish_message(struct errand *errand)
{
    errand->grader->pending--;
    grader_leave(errand->grader, errand->worker);
    errand_free(errand);
}

/* ---- Registering ---- */

static void welcome(struct socket *socket, struct grader *grader, int64_t epoch)
{
    static const char success[] = "{\"success\": true}";
    grader->state = GRADER_REGISTERED;
    grader->epoch = epoch;
    socket_trust(socket);
    course_websocket_wait_for_work(socket,
                                   grader); /* before it can tell anybody that it is there */
    socket_send(socket, success, sizeof success - 1);
}

static void turn_away(struct socket *socket, enum bw_code code)
{
    static const char failure[] = "{\"success\": false}";
    char reason[100];
    if (code != BW_CONFLICT) {
        socket_close(socket, SOCKET_TRY_AGAIN, "nobody can register now: try again");
        return;
    }
    snprintf(reason, sizeof reason, "worker id '%.60s' already exists", socket_name(socket));
    socket_send(socket, failure, sizeof failure - 1);
    socket_close(socket, SOCKET_PROTOCOL_ERROR, reason);
}

static void finish_registration(void *argument)
{
    struct errand *errand = argument;
    struct socket *socket = sockets_find(errand->api->sockets, errand->socket);
    if (socket == NULL && errand->code == BW_OK)
        course_websocket_tell_end(errand->api, errand->worker, errand->epoch,
                                  under_way_begin(errand->api->under_way));
    else if (socket != NULL && errand->code == BW_OK)
        welcome(socket, socket_data(socket), errand->epoch);
    else if (socket != NULL)
        turn_away(socket, errand->code);
    under_way_end(errand->api->under_way, errand->ticket);
    errand_free(errand);
}

static void course_websocket_registered(enum bw_code code, int64_t epoch,
                                        const struct bw_error *error, void *context)
{
    struct errand *errand = context;
    (void)error;
    errand->code = code;
    errand->epoch = epoch;
    come_back(errand, finish_registration);
}

static void begin_registration(struct socket *socket, struct grader *grader,
                               const json_t *arguments)
{
    struct errand *errand = errand_new(grader->api, socket);
    struct registration registration = {.settled = course_websocket_registered, .context = errand};
    struct worker *worker = &registration.worker;
    grader->state = GRADER_REGISTERING;
    errand->ticket = under_way_begin(grader->api->under_way);
    snprintf(worker->id, sizeof worker->id, "%s", socket_name(socket));
    snprintf(worker->hostname, sizeof worker->hostname, "%s",
             json_string_value(json_object_get(arguments, "hostname")));
    worker->is_socket = true;
    registration_begin(grader->api, &registration);
}

/* ---- Results ---- */

/* It is on record, or never will be. */
static bool is_answered(enum bw_code code)
{
    return code == BW_OK || code == BW_CONFLICT || code == BW_TOO_LARGE;
}

/* What can't be taken ends the connection. */
static void close_refused(struct socket *socket, const struct errand *errand)
{
    if (errand->refused == BW_TOO_LARGE)
        socket_close(socket, SOCKET_TOO_LARGE, errand->refusal.message);
    else if (errand->refused == BW_UNAVAILABLE)
        socket_close(socket, SOCKET_TRY_AGAIN, "too many large messages are under way");
    else
        socket_close(socket, SOCKET_INTERNAL_ERROR, "internal error");
}

/* Whatever became of it, the grader waits for work again. */
static void finish_result(void *argument)
{
    struct errand *errand = argument;
    struct socket *socket = sockets_find(errand->api->sockets, errand->socket);
    if (socket != NULL) {
        struct grader *grader = socket_data(socket);
        if (strcmp(grader->job, errand->job) == 0)
            grader->job[0] = '\0';
        if (errand->refused != BW_OK)
            close_refused(socket, errand);
        else if (is_answered(errand->code))
            course_websocket_wait_for_work(socket, grader);
        else if (errand->code == BW_NOT_FOUND)
            socket_close(socket, SOCKET_PROTOCOL_ERROR, "job with the given ID not found");
        else
            socket_close(socket, SOCKET_INTERNAL_ERROR, "internal error");
    }
    finish_message(errand);
}

static void course_websocket_result_settled(enum bw_code code, const struct bw_error *error,
                                            void *context)
{
    struct errand *errand = context;
    (void)error;
    errand->code = code;
    under_way_end(errand->api->under_way, errand->ticket);
    come_back(errand, finish_result);
}

static void course_websocket_submit(struct errand *errand)
{
    struct bw_error error;
    struct result_submission_request submitted = {
        .job = errand->job,
        .worker = errand->worker,
        .is_success = json_is_true(json_object_get(errand->body, "success")),
        .result = json_object_get(errand->body, "results"),
        .logs = json_object_get(errand->body, "logs"),
        .mended = &errand->mended,
        .protocol = PROTOCOL_COURSE,
        .settled = course_websocket_result_settled,
        .context = errand,
    };
    enum bw_code code = result_submission_begin(errand->api, &submitted, &error);
    if (code != BW_OK)
        course_websocket_result_settled(code, &error, errand);
}

/* ---- Messages ---- */

static const struct json_field message_fields[] = {
    {.name = "type", .kind = FIELD_STRING, .is_required = true},
    {.name = "args", .kind = FIELD_OBJECT, .is_required = true},
    {.name = NULL},
};

static const struct json_field register_fields[] = {
    {.name = "hostname", .kind = FIELD_STRING, .is_required = true, .maximum = HOSTNAME_SIZE - 1},
    {.name = NULL},
};

/* {"type", "args"}, closed, its args as their type wants them. Only results are mended. */
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
        return json_check(arguments, course_result_fields, "args", NULL, error);
    if (strcmp(type, "register") != 0)
        return bw_fail(error, BW_BAD_REQUEST, "type: must be 'register' or 'job_result'");
    if (json_mend_note(mended, note)[0] != '\0')
        return bw_fail(error, BW_BAD_REQUEST, "a registration must be valid JSON");
    return json_check(arguments, register_fields, "args", NULL, error);
}

/* Reads what was sent into the errand: a message, or why it is none of ours, and the job that it
 * was for, as far as that can be said. */
static void read_message(struct errand *errand)
{
    static const struct json_mend_limits limits = {.envelope = 2,
                                                   .max_values = JSON_MEND_MAX_VALUES};
    const struct json_limits cost = {
        .count = ROUTE_RESULT_COUNT, .take = body_take_parsed, .context = &errand->message};
    struct bw_error *refusal = &errand->refusal;
    const char *text = errand->message.bytes != NULL ? errand->message.bytes : "";
    size_t length = errand->message.length;
    errand->refused = json_parse_mended(text, length, "the message", &limits, &cost, &errand->body,
                                        &errand->mended, refusal);
    if (errand->refused == BW_OK)
        errand->refused = check_message(errand->body, &errand->mended, refusal);
    if (errand->refused == BW_OK)
        return;
    json_decref(errand->body);
    errand->body = NULL;
    (void)!json_find_text(text, length, "grading_job_id", 1, errand->job, sizeof errand->job);
}

static void submit_message(struct errand *errand, json_t *arguments)
{
    errand->body = json_incref(arguments);
    snprintf(errand->job, sizeof errand->job, "%s",
             json_string_value(json_object_get(arguments, "grading_job_id")));
    course_websocket_submit(errand);
}

/* What can't be taken fails the job that it is for: the one that it names, else the one that the
 * grader has. False: there is none, or nobody has registered, or it may be sent again. */
static bool submit_refusal(struct errand *errand)
{
    const struct grader *grader = errand->grader;
    struct bw_error unused;
    if (!is_hex_id(errand->job, JOB_ID_LENGTH))
        snprintf(errand->job, sizeof errand->job, "%s", grader->job);
    if (grader->state != GRADER_REGISTERED || errand->job[0] == '\0' ||
        errand->refused == BW_UNAVAILABLE)
        return false;
    const struct result_submission_request submitted = {.job = errand->job,
                                                        .worker = errand->worker,
                                                        .refused = errand->refused,
                                                        .refusal = &errand->refusal,
                                                        .settled = course_websocket_result_settled,
                                                        .context = errand};
    enum bw_code code = result_submission_begin(errand->api, &submitted, &unused);
    if (code != BW_OK)
        course_websocket_result_settled(code, &unused, errand);
    return true;
}

/* A message of a socket that is open. False: it is a result, and submitted. */
static bool heed(struct socket *socket, struct errand *errand, const json_t *message)
{
    struct grader *grader = errand->grader;
    json_t *arguments = json_object_get(message, "args");
    bool is_register = json_object_get(arguments, "grading_job_id") == NULL;
    if (message == NULL) {
        close_refused(socket, errand);
    } else if (is_register && grader->state != GRADER_NEW) {
        socket_close(socket, SOCKET_INTERNAL_ERROR, "internal error");
    } else if (is_register) {
        begin_registration(socket, grader, arguments);
    } else if (grader->state != GRADER_REGISTERED) {
        socket_close(socket, SOCKET_PROTOCOL_ERROR, "worker has not registered");
    } else {
        submit_message(errand, arguments);
        return false;
    }
    return true;
}

/* A message has been read. A result counts also if its socket has ended meanwhile. */
static void heed_message(void *argument)
{
    struct errand *errand = argument;
    struct socket *socket = sockets_find(errand->api->sockets, errand->socket);
    json_auto_t *message = errand->body;
    json_t *arguments = json_object_get(message, "args");
    bool is_late_result = socket == NULL && errand->grader->state == GRADER_REGISTERED &&
                          json_object_get(arguments, "grading_job_id") != NULL;
    errand->body = NULL;
    if (is_late_result) {
        submit_message(errand, arguments);
        return;
    }
    if (message == NULL && submit_refusal(errand))
        return;
    if (socket != NULL && !heed(socket, errand, message))
        return;
    under_way_end(errand->api->under_way, errand->ticket);
    finish_message(errand);
}

static void read_large(void *argument)
{
    struct errand *errand = argument;
    read_message(errand);
    come_back(errand, heed_message);
}

static struct errand *message_new(struct api *api, struct socket *socket)
{
    struct errand *errand = errand_new(api, socket);
    errand->ticket = under_way_begin(api->under_way);
    errand->grader = socket_data(socket);
    errand->grader->pending++;
    return errand;
}

/* One that is too large. Its job has failed before the socket closes: else it would be handed out
 * again, to end in the same way. */
static void take_oversized(struct socket *socket, const char *prefix, size_t length, void *context)
{
    struct api *api = context;
    struct errand *errand = message_new(api, socket);
    errand->refused = bw_fail(
        &errand->refusal, BW_TOO_LARGE, "the message is larger than %" PRId64 " bytes",
        errand->grader->state == GRADER_REGISTERED ? api->options->max_body_bytes
                                                   : (int64_t)SOCKET_STRANGER_BYTES);
    (void)!json_find_text(prefix, length, "grading_job_id", 1, errand->job, sizeof errand->job);
    heed_message(errand);
}

/* A large message is read elsewhere, so that the others need not wait. */
static void course_websocket_take_message(struct socket *socket, struct body *message,
                                          void *context)
{
    struct api *api = context;
    struct errand *errand = message_new(api, socket);
    errand->message = *message;
    *message = (struct body){.bytes = NULL};
    if (errand->message.length <= INLINE_MESSAGE_MAX) {
        read_message(errand);
        heed_message(errand);
        return;
    }
    thread_pool_submit(api->thread_pool, true, read_large, errand);
}

static void heard(struct socket *socket, void *context)
{
    struct api *api = context;
    const struct grader *grader = socket_data(socket);
    if (grader->state == GRADER_REGISTERED)
        signals_heard(api->signals, socket_name(socket), HEARD_HEARTBEAT);
}

static void opened(struct socket *socket, void **data, void *context)
{
    struct grader *grader = calloc(1, sizeof *grader);
    (void)socket;
    if (grader == NULL)
        abort();
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
        .opened = opened,
        .message = course_websocket_take_message,
        .oversized = take_oversized,
        .heard = heard,
        .ended = ended,
        .context = api,
    };
    return sockets_open(&settings, &api->sockets, error);
}

/* ---- From other threads ---- */

enum bw_code course_socket_judge(struct api *api, struct exchange *exchange, char **refusal,
                                 struct bw_error *error)
{
    const char *token;
    struct bw_error reason;
    enum bw_code code = auth_course_token(exchange, &token, &reason);
    if (code == BW_OK)
        code = auth_course_cluster(api->auth, exchange, token, &reason);
    if (code == BW_UNAVAILABLE)
        return bw_fail(error, code, "%s", reason.message);
    *refusal = code == BW_OK ? NULL : strdup(reason.message);
    return code == BW_OK || *refusal != NULL ? BW_OK
                                             : bw_fail(error, BW_INTERNAL, "memory is short");
}

/* Somebody who waits until the loop has read its sockets. It belongs to whoever is last to leave.
 */
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

static void pass(void *argument)
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
    struct barrier *barrier = calloc(1, sizeof *barrier);
    struct timespec until = clock_deadline(SETTLE_MS);
    int result = 0;
    if (barrier == NULL)
        abort();
    pthread_mutex_init(&barrier->mutex, NULL);
    clock_condition_init(&barrier->passed);
    sockets_post(sockets, true, pass, barrier);
    pthread_mutex_lock(&barrier->mutex);
    while (!barrier->has_passed && result == 0)
        result = pthread_cond_timedwait(&barrier->passed, &barrier->mutex, &until);
    barrier->is_left = true;
    bool has_passed = barrier->has_passed;
    pthread_mutex_unlock(&barrier->mutex);
    if (has_passed)
        barrier_free(barrier);
}

void course_socket_settle(struct api *api)
{
    int64_t end_ms = clock_boot_ms() + SETTLE_MS;
    if (sockets_count(api->sockets) > 0)
        wait_until_read(api->sockets);
    int64_t left_ms = end_ms - clock_boot_ms();
    if (left_ms > 0)
        under_way_wait(api->under_way, left_ms);
}
