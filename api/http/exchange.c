#include "api/http/exchange.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/http/exchange_internal.h"
#include "common/base/json_write.h"
#include "common/base/clock.h"

enum { RETRY_UNAVAILABLE_S = 1, RETRY_TOO_MANY_S = 10 };

struct exchange *exchange_new(struct exchange_host *host, struct MHD_Connection *connection,
                              const char *uri)
{
    size_t size = strlen(uri) + 1;
    struct exchange *exchange = calloc(1, sizeof *exchange + size);
    if (exchange == NULL)
        return NULL;
    memcpy(exchange->uri, uri, size);
    const char *mark = strchr(exchange->uri, '?');
    exchange->request.query = mark != NULL ? mark + 1 : "";
    for (size_t i = 0; i < PATH_PARTS; i++)
        exchange->request.parts[i] = "";
    exchange->host = host;
    exchange->connection = connection;
    exchange->fd = -1;
    exchange->request.method = exchange->request.path_id = exchange->request.body = "";
    exchange->request.number = request_id_number();
    exchange->request.received_ms = clock_boot_ms();
    return exchange;
}

void exchange_free(struct exchange *exchange)
{
    if (exchange == NULL)
        return;
    json_decref(exchange->request.arguments);
    free(exchange->request.mended);
    free(exchange->seek);
    free(exchange->answer.body);
    free(exchange->answer.allow);
    free(exchange->answer.refusal);
    free(exchange->path);
    free(exchange->socket_refusal);
    free(exchange);
}

void exchange_prove(struct exchange *exchange, enum connection_kind kind)
{
    connection_prove(exchange->peer, kind);
}

void exchange_prove_worker(struct exchange *exchange, const char *id)
{
    connection_prove_worker(exchange->peer, id);
}

void exchange_show_address(const struct sockaddr *from, char address[EXCHANGE_ADDRESS_SIZE])
{
    static const char mapped[] = "::ffff:";
    socklen_t length = from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                   : sizeof(struct sockaddr_in);
    if (getnameinfo(from, length, address, EXCHANGE_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) != 0)
        address[0] = '\0';
    if (strncmp(address, mapped, sizeof mapped - 1) == 0 && strchr(address, '.') != NULL)
        memmove(address, address + sizeof mapped - 1, strlen(address + sizeof mapped - 1) + 1);
}

const struct request *exchange_request(const struct exchange *exchange)
{
    return &exchange->request;
}

struct json_limits exchange_json_limits(struct exchange *exchange)
{
    return (struct json_limits){.count = route_json_count(exchange->request.route),
                                .take = body_take_parsed,
                                .context = &exchange->body};
}

void request_id_of(const struct request *request, char id[REQUEST_ID_SIZE])
{
    if (request->given_id != NULL)
        snprintf(id, REQUEST_ID_SIZE, "%s", request->given_id);
    else
        request_id_make(request->number, id);
}

const char *exchange_header(const struct exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

void exchange_local_address(const struct exchange *exchange, char address[EXCHANGE_ADDRESS_SIZE])
{
    struct sockaddr_storage local;
    socklen_t length = sizeof local;
    address[0] = '\0';
    if (getsockname(exchange->fd, (struct sockaddr *)&local, &length) == 0)
        exchange_show_address((const struct sockaddr *)&local, address);
}

void exchange_retry_after(struct exchange *exchange, int seconds)
{
    exchange->answer.retry_after_s = seconds;
}

bool exchange_is_gone(const struct exchange *exchange)
{
    struct pollfd socket = {.fd = exchange->fd, .events = POLLRDHUP};
    return poll(&socket, 1, 0) == 1 && (socket.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void exchange_watch(struct exchange *exchange,
                    void (*gone)(struct exchange *exchange, void *context), void *context)
{
    exchange->is_watched = true;
    disconnect_watch_add(exchange->host->watch, exchange->request.number, exchange->fd, exchange,
                         gone, context);
}

/* The answer is written: the connection may go on. Once the state is ANSWERED, only a connection
 * that was SUSPENDED before can still be relied on to be there, since it sleeps until it is resumed
 * here. */
static void exchange_finish(struct exchange *exchange)
{
    struct exchange_host *host = exchange->host;
    struct MHD_Connection *connection = exchange->connection;
    atomic_fetch_add(&host->answering, 1);
    if (exchange->is_watched)
        disconnect_watch_remove(host->watch, exchange->request.number);
    if (atomic_exchange(&exchange->state, EXCHANGE_ANSWERED) == EXCHANGE_SUSPENDED)
        MHD_resume_connection(connection);
    atomic_fetch_sub(&host->answering, 1);
}

static const char *usual_type(const struct exchange *exchange)
{
    bool is_course = exchange->request.form == FORM_COURSE;
    return is_course ? "application/json; charset=UTF-8" : "application/json";
}

void exchange_answer(struct exchange *exchange, int status, char *body, const char *type)
{
    exchange->answer.status = status;
    exchange->answer.body = body;
    exchange->answer.type = type != NULL ? type : usual_type(exchange);
    exchange_finish(exchange);
}

void exchange_answer_json(struct exchange *exchange, json_t *value)
{
    char *body = json_write(value, JSON_COMPACT);
    json_decref(value);
    if (body != NULL)
        exchange_answer(exchange, 200, body, NULL);
    else
        exchange_refuse(exchange, BW_INTERNAL, NULL);
}

void exchange_succeed(struct exchange *exchange, json_t *data)
{
    exchange_succeed_with(exchange, data);
    json_decref(data);
}

void exchange_succeed_with(struct exchange *exchange, const json_t *data)
{
    answer_stream_send_json(exchange->host->api->answer_streams, exchange, EXCHANGE_SUCCESS_BEFORE,
                            data, EXCHANGE_SUCCESS_AFTER);
}

void exchange_tell_limits(struct exchange *exchange)
{
    exchange->answer.tells_limits = true;
}

void exchange_answer_stream(struct exchange *exchange, struct event_stream *stream)
{
    exchange->answer.status = 200;
    exchange->answer.stream = stream;
    exchange_finish(exchange);
}

void exchange_answer_long(struct exchange *exchange, struct answer_stream *stream)
{
    exchange->answer.status = 200;
    exchange->answer.type = usual_type(exchange);
    exchange->answer.parts = stream;
    exchange_finish(exchange);
}

/* A sentence as JSON text. It is UTF-8, unless a client got bytes into it that are not: those are
 * not shown. */
static json_t *sentence(const char *message)
{
    json_t *text = json_string(message);
    if (text != NULL)
        return text;
    char plain[BW_ERROR_SIZE];
    size_t length = strnlen(message, sizeof plain - 1);
    for (size_t i = 0; i < length; i++)
        plain[i] = (unsigned char)message[i] < 0x80 ? message[i] : '?';
    plain[length] = '\0';
    return json_string(plain);
}

/* The course protocol tells what the caller got wrong ("fail") from what went wrong here or never
 * will be ("error"). */
static json_t *course_refusal(enum bw_code code, const char *message)
{
    switch (code) {
    case BW_BAD_BODY:
        return json_pack("{s:s, s:o}", "status", "fail", "data", sentence(message));
    case BW_BAD_REQUEST:
    case BW_UNAUTHORIZED:
    case BW_NOT_FOUND:
    case BW_CONFLICT:
    case BW_UPGRADE_REQUIRED:
    case BW_NO_JOB:
        return json_pack("{s:s, s:{s:o}}", "status", "fail", "data", "message", sentence(message));
    default:
        return json_pack("{s:s, s:o, s:i}", "status", "error", "message", sentence(message), "code",
                         bw_code_status(code));
    }
}

/* Of an unknown path nobody knows whose it is, so that it gets both forms. */
static json_t *make_refusal(enum answer_form form, enum bw_code code, const char *message)
{
    if (form == FORM_COURSE)
        return course_refusal(code, message);
    if (form == FORM_BOTH)
        return json_pack("{s:s, s:o, s:i, s:o}", "status", "error", "message", sentence(message),
                         "code", bw_code_status(code), "error", sentence(message));
    return json_pack("{s:o}", "error", sentence(message));
}

/* The request's id goes into all but the envelope "fail" of the course protocol, whose clients
 * compare it as a whole. */
static char *refusal_body(const struct exchange *exchange, enum bw_code code, const char *message,
                          const char *name, const char *text)
{
    const enum answer_form form = exchange->request.form;
    char id[REQUEST_ID_SIZE];
    json_auto_t *body = make_refusal(form, code, message);
    const char *status = json_string_value(json_object_get(body, "status"));
    request_id_of(&exchange->request, id);
    if (form != FORM_COURSE && name != NULL)
        json_object_set_new(body, name, json_string(text));
    if (status == NULL || strcmp(status, "fail") != 0)
        json_object_set_new(body, "request_id", json_string(id));
    return json_write(body, JSON_COMPACT);
}

/* A poll without a job: nothing at all in the classic protocol, a refusal in the other. */
static bool is_empty_answer(const struct exchange *exchange, enum bw_code code)
{
    return code == BW_NO_CONTENT || (code == BW_NO_JOB && exchange->request.form != FORM_COURSE);
}

void exchange_refuse_with(struct exchange *exchange, enum bw_code code,
                          const struct bw_error *error, const char *name, const char *text)
{
    struct answer *answer = &exchange->answer;
    if (code == BW_UNAVAILABLE)
        answer->retry_after_s = RETRY_UNAVAILABLE_S;
    if (code == BW_TOO_MANY && answer->retry_after_s == 0)
        answer->retry_after_s = RETRY_TOO_MANY_S;
    answer->asks_for_token = code == BW_UNAUTHORIZED;
    const char *message = error != NULL && error->message[0] != '\0' ? error->message
                                                                     : bw_code_text(code);
    bool is_empty = is_empty_answer(exchange, code);
    if (!is_empty && code != BW_NO_JOB) {
        free(answer->refusal);
        answer->refusal = strdup(message);
        exchange->request.refusal = answer->refusal;
    }
    char *body = is_empty ? NULL : refusal_body(exchange, code, message, name, text);
    exchange_answer(exchange, bw_code_status(code), body, NULL);
}

void exchange_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error)
{
    exchange_refuse_with(exchange, code, error, NULL, NULL);
}

enum memory_pool exchange_memory_pool(const struct exchange *exchange)
{
    switch (exchange->request.route->auth) {
    case AUTH_CLIENT:
        return exchange->has_client_token ? MEMORY_CLIENT : MEMORY_UNKNOWN;
    case AUTH_INTERNAL:
        return MEMORY_WORKER;
    case AUTH_NONE:
    case AUTH_CLUSTER:
    case AUTH_WORKER:
        return MEMORY_UNKNOWN;
    default:
        return MEMORY_CLIENT; /* the course protocol's token was seen to be good */
    }
}
