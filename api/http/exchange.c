#include "api/http/exchange.h"

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "api/http/exchange_internal.h"
#include "common/base/alloc.h"
#include "common/base/json_write.h"
#include "common/base/clock.h"

enum { RETRY_UNAVAILABLE_S = 1, RETRY_TOO_MANY_S = 10, FIRST_REFUSAL = 400 };

struct exchange *exchange_new(struct exchange_host *host, struct MHD_Connection *connection,
                              const char *uri)
{
    size_t size = strlen(uri) + 1;
    struct exchange *exchange = calloc(1, sizeof *exchange + size); /* the size is the sender's */
    if (exchange == NULL)
        return NULL;
    memcpy(exchange->uri, uri, size);
    const char *mark = strchr(exchange->uri, '?');
    exchange->request.query = mark != NULL ? mark + 1 : "";
    for (size_t i = 0; i < PATH_PARTS; i++)
        exchange->request.parts[i] = "";
    exchange->host = host;
    exchange->request.protocol = host->protocols[0];
    exchange->sender.pool = MEMORY_UNKNOWN;
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
    free(exchange->sender_seek);
    free(exchange->answer.body);
    spool_close(exchange->spool);
    free(exchange->answer.allow);
    free(exchange->answer.refusal);
    memory_hold_release(&exchange->answer.hold);
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

const struct received_file *exchange_received_file(struct exchange *exchange)
{
    return spool_finish(exchange->spool);
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

/* After the change of state the exchange may be freed. Only a connection that was SUSPENDED is
 * still there, since it is suspended until the call below. */
void exchange_wake(struct exchange *exchange, enum exchange_state state)
{
    struct exchange_host *host = exchange->host;
    struct MHD_Connection *connection = exchange->connection;
    atomic_fetch_add(&host->answering, 1);
    if (atomic_exchange(&exchange->state, state) == EXCHANGE_SUSPENDED)
        MHD_resume_connection(connection);
    atomic_fetch_sub(&host->answering, 1);
}

void exchange_carried_out(struct exchange *exchange)
{
    exchange->is_carried_out = true;
}

/* Whether the answer waits until the request is recorded. Refusals are not recorded, except of
 * requests that were carried out nevertheless. */
static bool exchange_record(struct exchange *exchange)
{
    const struct http_hooks *hooks = exchange->host->hooks;
    if (hooks == NULL || hooks->record == NULL || exchange->is_recorded ||
        (exchange->answer.status >= FIRST_REFUSAL && !exchange->is_carried_out))
        return false;
    exchange->is_recorded = true;
    return hooks->record(exchange->host->api, exchange);
}

/* Ends the wait: the answer is complete, and the connection is resumed. */
static void exchange_finish(struct exchange *exchange)
{
    if (exchange->is_watched)
        disconnect_watch_remove(exchange->host->watch, exchange->request.number);
    exchange->is_watched = false;
    if (!exchange_record(exchange))
        exchange_wake(exchange, EXCHANGE_ANSWERED);
}

enum sender_token exchange_token(const struct exchange *exchange)
{
    return exchange->sender.token;
}

const char *exchange_token_name(const struct exchange *exchange)
{
    return exchange->sender.token_name;
}

static const struct bw_error exchange_unrecorded = {
    "the request was carried out, but could not be recorded in the audit: send it again"};

static void exchange_drop_answer(struct exchange *exchange)
{
    struct answer *answer = &exchange->answer;
    free(answer->body);
    answer->body = NULL;
    memory_hold_release(&answer->hold);
    if (answer->made.stream != NULL)
        answer->made.drop(answer->made.stream);
    answer->made.stream = NULL;
}

void exchange_release(struct exchange *exchange, bool is_stored)
{
    if (is_stored) {
        exchange_wake(exchange, EXCHANGE_ANSWERED);
        return;
    }
    exchange_drop_answer(exchange);
    exchange_refuse(exchange, BW_UNAVAILABLE, &exchange_unrecorded);
}

static const char *usual_type(const struct exchange *exchange)
{
    const struct wire_protocol *protocol = exchange->request.protocol;
    return protocol != NULL && protocol->json_type != NULL ? protocol->json_type
                                                           : "application/json";
}

void exchange_answer(struct exchange *exchange, int status, char *body, const char *type)
{
    exchange->answer.status = status;
    exchange->answer.body = body;
    exchange->answer.body_length = body != NULL ? strlen(body) : 0;
    exchange->answer.type = type != NULL ? type : usual_type(exchange);
    exchange_finish(exchange);
}

void exchange_answer_bytes(struct exchange *exchange, char *bytes, size_t length, const char *type)
{
    exchange->answer.status = 200;
    exchange->answer.body = bytes;
    exchange->answer.body_length = length;
    exchange->answer.type = type;
    exchange_finish(exchange);
}

void exchange_answer_held(struct exchange *exchange, char *body, struct memory_hold *hold)
{
    exchange->answer.hold = *hold;
    *hold = (struct memory_hold){.budget = NULL};
    exchange_answer(exchange, 200, body, NULL);
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

void exchange_add_header(struct exchange *exchange, const char *name, const char *value)
{
    struct answer *answer = &exchange->answer;
    assert(answer->header_count < EXCHANGE_HEADERS);
    struct answer_header *header = &answer->headers[answer->header_count++];
    header->name = name;
    snprintf(header->value, sizeof header->value, "%s", value);
}

void exchange_answer_stream(struct exchange *exchange, const struct exchange_stream *stream)
{
    exchange->answer.status = 200;
    exchange->answer.type = stream->type != NULL ? stream->type : usual_type(exchange);
    exchange->answer.made = *stream;
    exchange_finish(exchange);
}

/* A sentence as JSON text. If it has bytes from a client that are not UTF-8, all non-ASCII bytes
 * are replaced. */
static json_t *exchange_sentence(const char *message)
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

static bool refuse_plainly(json_t *body, enum bw_code code, json_t *said)
{
    if (code != BW_NO_JOB)
        json_object_set(body, "error", said);
    return true;
}

static bool refuse_as(const struct wire_protocol *protocol, json_t *body, enum bw_code code,
                      json_t *said, bool is_own)
{
    return protocol->refuse != NULL ? protocol->refuse(body, code, said, is_own)
                                    : refuse_plainly(body, code, said);
}

/* Fills the body of a refusal on a path of no protocol: the members of all protocols' forms, the
 * last form first. */
static bool refuse_as_all(const struct wire_protocol *const *forms, json_t *body, enum bw_code code,
                          json_t *said)
{
    size_t count = 0;
    while (forms[count] != NULL)
        count++;
    while (count > 0)
        (void)refuse_as(forms[--count], body, code, said, false);
    return true;
}

/* Makes the body of a refusal. NULL: it is empty. */
static char *refusal_body(const struct exchange *exchange, enum bw_code code, const char *message,
                          const char *name, const char *text)
{
    const struct wire_protocol *protocol = exchange->request.protocol;
    json_auto_t *body = json_object(), *said = exchange_sentence(message);
    char id[REQUEST_ID_SIZE];
    if (code == BW_NO_CONTENT)
        return NULL;
    bool has_id = protocol != NULL ? refuse_as(protocol, body, code, said, true)
                                   : refuse_as_all(exchange->host->forms, body, code, said);
    if (json_object_size(body) == 0)
        return NULL;
    request_id_of(&exchange->request, id);
    if (name != NULL)
        json_object_set_new(body, name, json_string(text));
    if (has_id)
        json_object_set_new(body, "request_id", json_string(id));
    return json_write(body, JSON_COMPACT);
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
    if (code != BW_NO_CONTENT && code != BW_NO_JOB) {
        free(answer->refusal);
        answer->refusal = bw_copy(message);
        exchange->request.refusal = answer->refusal;
    }
    char *body = refusal_body(exchange, code, message, name, text);
    exchange_answer(exchange, bw_code_status(code), body, NULL);
}

void exchange_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error)
{
    exchange_refuse_with(exchange, code, error, NULL, NULL);
}

enum memory_pool exchange_memory_pool(const struct exchange *exchange)
{
    return exchange->sender.pool;
}
