#include "api/http/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/http/exchange.h"
#include "api/http/thread_pool.h"
#include "api/protocols.h"
#include "common/base/clock.h"
#include "common/base/json_memory.h"

enum {
    MAX_BODY = 256 * 1024,
    CLOSE_MS = 3000,
    REQUEST_TIMEOUT_S = 10,
    PARKED_MAX = 256,
    ANSWER_SIZE = 8192
};

/* ---- The server: a few routes, and polls that wait until a test answers them ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct exchange *exchanges[PARKED_MAX];
    int count;
    int gone;
    atomic_int finished;
    atomic_int last_status;
} parked = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct server *server;
static struct api api;

/* Removes the given exchange, or the oldest for NULL. Returns NULL if there is none. */
static struct exchange *take(const struct exchange *wanted)
{
    struct exchange *taken = NULL;
    pthread_mutex_lock(&parked.mutex);
    for (int i = 0; i < parked.count && taken == NULL; i++)
        if (wanted == NULL || parked.exchanges[i] == wanted) {
            taken = parked.exchanges[i];
            parked.exchanges[i] = parked.exchanges[--parked.count];
        }
    pthread_mutex_unlock(&parked.mutex);
    return taken;
}

static void client_gone(struct exchange *exchange, void *context)
{
    (void)context;
    struct exchange *taken = take(exchange);
    pthread_mutex_lock(&parked.mutex);
    parked.gone++;
    pthread_cond_broadcast(&parked.changed);
    pthread_mutex_unlock(&parked.mutex);
    if (taken != NULL)
        exchange_refuse(taken, BW_NO_JOB, NULL);
}

static enum bw_code handle_park(struct api *context, struct exchange *exchange,
                                struct bw_error *error)
{
    (void)context, (void)error;
    exchange_watch(exchange, client_gone, NULL);
    pthread_mutex_lock(&parked.mutex);
    assert_true(parked.count < PARKED_MAX);
    bool is_gone = exchange_is_gone(
        exchange); /* before this, client_gone does not find the exchange */
    if (!is_gone)
        parked.exchanges[parked.count++] = exchange;
    pthread_cond_broadcast(&parked.changed);
    pthread_mutex_unlock(&parked.mutex);
    return is_gone ? BW_NO_JOB : BW_PENDING;
}

static enum bw_code handle_now(struct api *context, struct exchange *exchange,
                               struct bw_error *error)
{
    (void)context, (void)error;
    exchange_answer_json(exchange,
                         json_pack("{s:s, s:s, s:I}", "id", exchange_request(exchange)->path_id,
                                   "address", exchange_request(exchange)->address, "length",
                                   (json_int_t)exchange_request(exchange)->body_length));
    return BW_OK;
}

static enum bw_code handle_text(struct api *context, struct exchange *exchange,
                                struct bw_error *error)
{
    (void)context, (void)error;
    exchange_answer(exchange, 200, strdup("one 1\n"), "text/plain");
    return BW_OK;
}

static enum bw_code handle_empty(struct api *context, struct exchange *exchange,
                                 struct bw_error *error)
{
    (void)context, (void)exchange, (void)error;
    return BW_NO_JOB;
}

static enum bw_code handle_away(struct api *context, struct exchange *exchange,
                                struct bw_error *error)
{
    (void)context, (void)exchange;
    return bw_fail(error, BW_UNAVAILABLE, "not now \"%s\"", "\xff");
}

static const struct json_field echo_fields[] = {
    {.name = "text", .kind = FIELD_STRING, .is_required = true}, {.name = NULL}};

static enum bw_code handle_echo(struct api *context, struct exchange *exchange,
                                struct bw_error *error)
{
    (void)context, (void)error;
    exchange_answer_json(exchange, json_incref(exchange_request(exchange)->arguments));
    return BW_OK;
}

static const struct route routes[] = {
    {"GET", "/now", AUTH_NONE, BODY_NONE, 0, NULL, handle_now},
    {"GET", "/item/{id}", AUTH_NONE, BODY_NONE, 0, NULL, handle_now},
    {"POST", "/item/{id}", AUTH_NONE, BODY_NONE, 0, NULL, handle_now},
    {"POST", "/echo", AUTH_NONE, BODY_ARGUMENTS, 0, echo_fields, handle_echo},
    {"POST", "/take", AUTH_NONE, BODY_ARGUMENTS, 0, echo_fields, handle_now},
    {"GET", "/slow", AUTH_NONE, BODY_NONE, ROUTE_BLOCKING, NULL, handle_now},
    {"GET", "/text", AUTH_NONE, BODY_NONE, 0, NULL, handle_text},
    {"GET", "/empty", AUTH_NONE, BODY_NONE, 0, NULL, handle_empty},
    {"GET", "/away", AUTH_NONE, BODY_NONE, ROUTE_URGENT | ROUTE_BLOCKING, NULL, handle_away},
    {"GET", "/park", AUTH_NONE, BODY_NONE, 0, NULL, handle_park},
    {"GET", "/slow_park", AUTH_NONE, BODY_NONE, ROUTE_BLOCKING, NULL, handle_park},
    {"POST", "/shared/{id}", AUTH_NONE, BODY_NONE, 0, NULL, handle_now},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};

static const struct wire_protocol tested = {.routes = routes};

/* A second protocol, which shares a path with the first. */
static enum bw_code handle_guest(struct api *context, struct exchange *exchange,
                                 struct bw_error *error)
{
    (void)context;
    return bw_fail(error, BW_CONFLICT, "guest of %s", exchange_request(exchange)->parts[0]);
}

static bool guest_claims(struct api *unused, const struct exchange *exchange,
                         const char *const parts[PATH_PARTS])
{
    (void)unused;
    (void)parts;
    return exchange_header(exchange, "X-Guest") != NULL;
}

static enum bw_code guest_claims_body(struct exchange *exchange, struct bw_error *error)
{
    bool is_guest = strcmp(exchange_request(exchange)->body, "guest") == 0;
    return is_guest ? bw_fail(error, BW_BAD_REQUEST, "say so in a header") : BW_OK;
}

static bool guest_refuse(json_t *body, enum bw_code code, json_t *sentence, bool is_own)
{
    (void)code;
    json_object_set(body, is_own ? "guest" : "anybody", sentence);
    return !is_own;
}

static const struct route guest_routes[] = {
    {"GET", "/shared/{name}", AUTH_NONE, BODY_UNREAD, 0, NULL, handle_guest},
    {"POST", "/shared/{name}", AUTH_NONE, BODY_UNREAD, 0, NULL, handle_guest},
    {"GET", "/guest/{name}/{name}", AUTH_NONE, BODY_UNREAD, 0, NULL, handle_guest},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};
static const struct wire_protocol guest = {.routes = guest_routes,
                                           .json_type = "application/guest",
                                           .is_for_browsers = true,
                                           .claims = guest_claims,
                                           .claims_body = guest_claims_body,
                                           .refuse = guest_refuse};
static const struct wire_protocol *const tested_protocols[] = {&tested, &guest, NULL};

static void note_finished(const struct request *request, int status, void *context)
{
    (void)context;
    assert_true(request->number > 0);
    atomic_store(&parked.last_status, status);
    atomic_fetch_add(&parked.finished, 1);
}

static const struct http_server_settings settings = {.api = &api,
                                                     .protocols = tested_protocols,
                                                     .forms = protocols,
                                                     .address = "127.0.0.1",
                                                     .threads = 4,
                                                     .max_body_bytes = MAX_BODY,
                                                     .finished = note_finished};

static int start(void **state)
{
    (void)state;
    struct bw_error error = {""};
    signal(SIGPIPE, SIG_IGN);
    parked.count = parked.gone = 0;
    atomic_store(&parked.finished, 0);
    if (thread_pool_open(4, &api.thread_pool, &error) != BW_OK ||
        http_server_open(&settings, &server, &error) != BW_OK)
        fail_msg("%s", error.message);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    int64_t begun_ms = clock_boot_ms();
    http_server_close(server);
    thread_pool_close(api.thread_pool);
    return clock_boot_ms() - begun_ms < CLOSE_MS ? 0 : -1;
}

/* Waits until `count` requests are parked, or `gone` clients have disconnected. */
static void await_parked(int count, int gone)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += REQUEST_TIMEOUT_S;
    pthread_mutex_lock(&parked.mutex);
    while (parked.count < count || parked.gone < gone)
        assert_int_equal(pthread_cond_timedwait(&parked.changed, &parked.mutex, &end), 0);
    pthread_mutex_unlock(&parked.mutex);
}

static void await_in_flight(size_t count)
{
    int64_t end_ms = clock_boot_ms() + REQUEST_TIMEOUT_S * 1000;
    while (http_server_in_flight(server) != count) {
        assert_true(clock_boot_ms() < end_ms);
        usleep(1000);
    }
}

/* ---- A client that sends bytes ---- */

struct reply {
    int status;
    char head[2048];
    char body[ANSWER_SIZE];
    size_t length;
};

static int dial_port(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval timeout = {.tv_sec = REQUEST_TIMEOUT_S};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static int dial(void)
{
    return dial_port(http_server_port(server));
}

static bool send_bytes(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool send_text(int fd, const char *text)
{
    return send_bytes(fd, text, strlen(text));
}

static bool read_exactly(int fd, char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t got = recv(fd, bytes, length, 0);
        if (got <= 0)
            return false;
        bytes += got;
        length -= (size_t)got;
    }
    return true;
}

/* Reads exactly one answer. */
static bool read_reply(int fd, struct reply *reply)
{
    size_t length = 0;
    memset(reply, 0, sizeof *reply);
    while (length < 4 || memcmp(reply->head + length - 4, "\r\n\r\n", 4) != 0)
        if (length + 1 >= sizeof reply->head || !read_exactly(fd, reply->head + length++, 1))
            return false;
    reply->status = (int)strtol(reply->head + strlen("HTTP/1.1 "), NULL, 10);
    const char *field = strcasestr(reply->head, "Content-Length: ");
    reply->length = field != NULL ? strtoul(field + strlen("Content-Length: "), NULL, 10) : 0;
    return reply->length < sizeof reply->body && read_exactly(fd, reply->body, reply->length);
}

/* Removes the request's id from a refusal, and checks that the header has the same id. */
static const char *without_id(struct reply *reply)
{
    char header[200];
    char *begin = strstr(reply->body, ",\"request_id\":\""),
         *id = begin + strlen(",\"request_id\":\"");
    assert_non_null(begin);
    char *end = strchr(id, '"');
    assert_non_null(end);
    snprintf(header, sizeof header, "X-Request-Id: %.*s\r\n", (int)(end - id), id);
    assert_non_null(strstr(reply->head, header));
    memmove(begin, end + 1, strlen(end + 1) + 1);
    return reply->body;
}

static bool ask(int fd, const char *method, const char *path, struct reply *reply)
{
    char text[1024];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path);
    return send_text(fd, text) && read_reply(fd, reply);
}

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

/* Sends the bytes on a new connection and returns the answer. `must_close`: checks that the server
 * closes the connection. */
static struct reply answer_to(const char *bytes, bool must_close)
{
    struct reply reply;
    int fd = dial();
    assert_true(fd >= 0 && send_text(fd, bytes));
    if (!read_reply(fd, &reply))
        fail_msg("no answer to: %s", bytes);
    if (must_close)
        assert_true(is_closed(fd));
    close(fd);
    return reply;
}

/* ---- Two protocols on one port ---- */

static void shared_path_belongs_to_the_first_protocol_unless_claimed(void **state)
{
    (void)state;
    struct reply reply = answer_to("POST /shared/a HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"id\":\"a\""));
    reply = answer_to("POST /shared/a HTTP/1.1\r\nHost: x\r\nX-Guest: 1\r\n\r\n", false);
    assert_int_equal(reply.status, 409);
    assert_string_equal(reply.body, "{\"guest\":\"guest of a\"}");
    assert_non_null(strstr(reply.head, "Content-Type: application/guest\r\n"));
    reply = answer_to("POST /shared/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nguest",
                      false);
    assert_int_equal(reply.status, 400);
    assert_string_equal(reply.body, "{\"guest\":\"say so in a header\"}");
    reply = answer_to("GET /shared/a HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert_int_equal(reply.status, 409);
}

static void refusal_has_the_form_of_the_paths_protocol(void **state)
{
    (void)state;
    struct reply reply = answer_to("PUT /guest/a/b HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert_int_equal(reply.status, 405);
    assert_non_null(strstr(reply.head, "Allow: GET, HEAD, OPTIONS\r\n"));
    assert_memory_equal(reply.body, "{\"guest\":", 9);
    reply = answer_to("PUT /shared/a HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert_int_equal(reply.status, 405);
    assert_non_null(strstr(reply.head, "Allow: POST, GET, HEAD, OPTIONS\r\n"));
    assert_memory_equal(reply.body,
                        "{\"status\":", 10); /* in the form of the server's own protocol */
    reply = answer_to("OPTIONS /shared/a HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert_int_equal(reply.status, 204);
    reply = answer_to("PUT /now HTTP/1.1\r\nHost: x\r\n\r\n", false);
    assert_int_equal(reply.status, 405);
    assert_non_null(strstr(reply.head, "Allow: GET, HEAD\r\n"));
    assert_memory_equal(reply.body, "{\"error\":", 9);
}

/* ---- Answers ---- */

static void answers_at_once_and_keeps_the_connection(void **state)
{
    (void)state;
    struct reply reply;
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        assert_true(ask(fd, "GET", "/item/a%41?", &reply));
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.body, "{\"id\":\"aA\",\"address\":\"127.0.0.1\",\"length\":0}");
        assert_non_null(strcasestr(reply.head, "Content-Type: application/json\r\n"));
        assert_null(strcasestr(reply.head, "Connection: close"));
    }
    assert_true(ask(fd, "GET", "/text", &reply));
    assert_non_null(strcasestr(reply.head, "Content-Type: text/plain\r\n"));
    assert_true(ask(fd, "GET", "/slow", &reply));
    assert_int_equal(reply.status, 200);
    close(fd);
    await_in_flight(0);
    assert_int_equal(atomic_load(&parked.finished), 5);
}

static void refusals_have_json_and_headers(void **state)
{
    (void)state;
    struct reply reply;
    int fd = dial();
    assert_true(ask(fd, "GET", "/nowhere", &reply));
    assert_int_equal(reply.status, 404);
    assert_string_equal(
        without_id(&reply),
        "{\"status\":\"error\",\"message\":\"there is nothing at /nowhere\",\"code\":404,"
        "\"error\":\"there is nothing at /nowhere\"}");
    assert_true(ask(fd, "DELETE", "/item/x", &reply));
    assert_int_equal(reply.status, 405);
    assert_non_null(strstr(reply.head, "Allow: GET, HEAD, POST\r\n"));
    assert_true(ask(fd, "OPTIONS", "/now", &reply));
    assert_int_equal(reply.status, 405);
    assert_true(ask(fd, "GET", "/empty", &reply));
    assert_int_equal(reply.status, 498);
    assert_int_equal(reply.length, 0);
    assert_null(strcasestr(reply.head, "Content-Type"));
    assert_true(ask(fd, "GET", "/away", &reply));
    assert_int_equal(reply.status, 503);
    assert_string_equal(without_id(&reply), "{\"error\":\"not now \\\"?\\\"\"}");
    assert_non_null(strstr(reply.head, "Retry-After: "));
    assert_true(ask(fd, "GET", "/now?x=1", &reply));
    assert_int_equal(reply.status, 400);
    assert_string_equal(without_id(&reply), "{\"error\":\"unknown argument 'x'\"}");
    assert_true(ask(fd, "GET", "/item/", &reply));
    assert_int_equal(reply.status, 404);
    close(fd);
    fd = dial();
    assert_true(send_text(fd, "HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n") &&
                read_exactly(fd, reply.head, 12));
    assert_memory_equal(reply.head, "HTTP/1.1 200", 12);
    close(fd);
}

static void request_with_ambiguous_length_is_refused_and_closed(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "Host: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
        "Host: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n",
        "Host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: x\r\nTransfer-Encoding: gzip\r\n",
        "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: x\r\nContent-Length : 3\r\n",
        "Host: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n",
        "Host: x\r\nHost: y\r\nContent-Length: 3\r\n",
        "Host: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "Content-Length: 3\r\n",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "POST /item/x HTTP/1.1\r\n%s\r\nGET /now HTTP/1.1\r\nHost: x\r\n\r\n", headers[i]);
        struct reply reply = answer_to(text, true);
        if (reply.status != 400 || strncmp(reply.body, "{\"error\":\"", 10) != 0)
            fail_msg("%d for %s", reply.status, headers[i]);
    }
}

static void unparsable_request_is_refused_in_the_same_form(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
        "POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\nabc",
        "POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
        "POST /item/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /now HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET /now HTTP/1.1\r\nno header\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct reply reply = answer_to(requests[i], true);
        assert_in_range(reply.status, 400, 505);
        assert_memory_equal(reply.body, "{\"error\":\"this request can't be read: ", 38);
        without_id(&reply);
    }
    char *large = malloc(64 * 1024 + 64);
    int length = snprintf(large, 64, "GET /now HTTP/1.1\r\nHost: x\r\nX: ");
    memset(large + length, 'x', 64 * 1024);
    memcpy(large + length + 60 * 1024, "\r\n\r\n", sizeof "\r\n\r\n");
    assert_int_equal(answer_to(large, true).status, 431);
    free(large);
}

static void path_with_ambiguous_escapes_is_refused(void **state)
{
    (void)state;
    static const char *const parts[] = {"%00", "a%00b", "%2f", "..%2F..", "%5C", "%5c.."};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET /item/%s HTTP/1.1\r\nHost: x\r\n\r\n", parts[i]);
        assert_int_equal(answer_to(text, false).status, 400);
    }
    assert_int_equal(answer_to("GET /item/%FF%41 HTTP/1.1\r\nHost: x\r\n\r\n", false).status, 400);
}

/* ---- Bodies ---- */

static void bodies_are_read_in_any_pieces(void **state)
{
    (void)state;
    struct reply reply;
    const char *request = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\ntext=a+%21";
    assert_string_equal(
        answer_to("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\ntext=a+%21", false)
            .body,
        "{\"text\":\"a !\"}");
    assert_int_equal(
        answer_to("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
                  "5\r\ntext=\r\n3\r\nabc\r\n0\r\n\r\n",
                  false)
            .status,
        200);
    assert_string_equal(answer_to("POST /echo?text=b HTTP/1.0\r\n\r\n", false).body,
                        "{\"text\":\"b\"}");
    int fd = dial();
    for (const char *byte = request; *byte != '\0'; byte++) {
        send_bytes(fd, byte, 1);
        if (byte - request < 4)
            usleep(1000);
    }
    assert_true(read_reply(fd, &reply));
    assert_int_equal(reply.status, 400); /* "text=a+%2" */
    close(fd);
}

static void body_at_the_limit_is_accepted(void **state)
{
    (void)state;
    struct reply reply;
    char head[128], *body = malloc(MAX_BODY);
    memset(body, 'x', MAX_BODY);
    memcpy(body, "text=", 5);
    int fd = dial();
    for (int i = 0; i < 2; i++) {
        snprintf(head, sizeof head, "POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                 MAX_BODY);
        assert_true(send_text(fd, head) && send_bytes(fd, body, MAX_BODY) &&
                    read_reply(fd, &reply));
        assert_int_equal(reply.status, 200);
        assert_non_null(strstr(reply.body, "\"length\":262144"));
    }
    free(body);
    close(fd);
}

static void a_length_over_the_limit_is_refused_before_the_body_is_sent(void **state)
{
    (void)state;
    struct reply reply = answer_to(
        "POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 262145\r\n\r\n", true);
    assert_int_equal(reply.status, 413);
    assert_string_equal(without_id(&reply), "{\"error\":\"the body is larger than 262144 bytes\"}");
    reply = answer_to("POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4097\r\n\r\n", true);
    assert_int_equal(reply.status, 413);
    assert_string_equal(without_id(&reply), "{\"error\":\"the body is larger than 4096 bytes\"}");
    reply = answer_to(
        "POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n",
        true);
    assert_int_equal(reply.status, 413);
    int fd = dial();
    assert_true(send_text(
        fd,
        "POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
    assert_true(read_reply(fd, &reply));
    assert_int_equal(reply.status, 100);
    assert_true(send_text(fd, "abc") && read_reply(fd, &reply));
    assert_int_equal(reply.status, 200);
    close(fd);
}

/* The client sends the whole body before it reads. */
static void a_client_that_is_still_sending_sees_the_refusal(void **state)
{
    (void)state;
    enum { SENT = 8 * 1024 * 1024 };
    struct reply reply;
    char *body = calloc(1, SENT), head[128];
    for (int i = 0; i < 5; i++) {
        int fd = dial();
        snprintf(head, sizeof head, "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                 i % 2 ? "item/x" : "nowhere", SENT);
        assert_true(send_text(fd, head) && send_bytes(fd, body, SENT));
        assert_true(read_reply(fd, &reply));
        assert_int_equal(reply.status, i % 2 ? 413 : 404);
        assert_true(is_closed(fd));
        close(fd);
    }
    free(body);
}

static void chunks_without_end_are_refused(void **state)
{
    (void)state;
    struct reply reply;
    char chunk[16 + 65536 + 2];
    int length = snprintf(chunk, sizeof chunk, "10000\r\n%065536d\r\n", 0);
    int fd = dial();
    assert_true(
        send_text(fd, "POST /item/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for (int i = 0; i < 32; i++)
        assert_true(send_bytes(fd, chunk, (size_t)length));
    assert_true(read_reply(fd, &reply));
    assert_int_equal(reply.status, 413);
    assert_true(is_closed(fd));
    close(fd);
    await_in_flight(0);
    assert_int_equal(atomic_load(&parked.last_status), 413);
}

/* ---- Waiting ---- */

static void a_parked_request_is_answered_by_another_thread(void **state)
{
    (void)state;
    static const char *const paths[] = {"/park", "/slow_park"};
    struct reply reply;
    int fd = dial();
    for (int i = 0; i < 10; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i % 2]);
        assert_true(send_text(fd, text));
        await_parked(1, 0);
        assert_int_equal(http_server_in_flight(server), 1);
        struct exchange *exchange = take(NULL);
        assert_false(exchange_is_gone(exchange));
        exchange_answer(exchange, 200, strdup("{\"job\":1}"), NULL);
        assert_true(read_reply(fd, &reply));
        assert_string_equal(reply.body, "{\"job\":1}");
    }
    close(fd);
    assert_int_equal(parked.gone, 0);
}

static void disconnect_is_noticed(void **state)
{
    (void)state;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < 3; i++) {
        int fd = dial();
        assert_true(send_text(fd, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n"));
        await_parked(1, i);
        if (i == 1)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i == 2)
            assert_true(send_text(fd, "GET /now HTTP/1.1\r\n"));
        close(fd);
        await_parked(0, i + 1);
        await_in_flight(0);
    }
    assert_int_equal(parked.count, 0);
}

/* The handler is notified although the client disconnected before the request was watched. */
static void earlier_disconnect_is_noticed(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        int fd = dial();
        assert_true(send_text(fd, "GET /slow_park HTTP/1.1\r\nHost: x\r\n\r\n"));
        close(fd);
    }
    await_in_flight(0);
    assert_int_equal(parked.count, 0);
}

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Also if the client's FIN arrives together with the request, or in the middle of a body. (In the
 * middle of the headers, or before the first byte of a body, the limit for idle connections closes
 * them.) */
static void connections_of_disconnected_clients_are_closed_soon(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "GET /now HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /slow_park HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\ntext=a",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\ntext=a",
    };
    enum { REQUESTS = sizeof requests / sizeof *requests };
    int before = count_descriptors();
    for (int i = 0; i < 20 * REQUESTS; i++) {
        int fd = dial();
        assert_true(send_text(fd, requests[i % REQUESTS]));
        close(fd);
    }
    int64_t end_ms = clock_boot_ms() + REQUEST_TIMEOUT_S * 1000;
    while (count_descriptors() > before) {
        if (clock_boot_ms() > end_ms)
            fail_msg("%d connections are still open", count_descriptors() - before);
        usleep(1000);
    }
}

/* ---- Starting and stopping ---- */

static void error_names_why_listening_failed(void **state)
{
    (void)state;
    struct bw_error error;
    struct server *other;
    struct http_server_settings taken = settings;
    taken.port = http_server_port(server);
    assert_int_equal(http_server_open(&taken, &other, &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "Address already in use"));
    taken.address = "localhost";
    assert_int_equal(http_server_open(&taken, &other, &error), BW_INTERNAL);
    assert_non_null(strstr(error.message, "'localhost' is not a numeric address"));
    http_server_close(NULL);
}

static void two_servers_run_side_by_side(void **state)
{
    (void)state;
    struct bw_error error;
    struct reply reply;
    struct server *first = server;
    struct http_server_settings six = settings;
    six.address = "::1";
    if (http_server_open(&six, &server, &error) == BW_OK) {
        http_server_close(server);
        six.address = "127.0.0.1";
        assert_int_equal(http_server_open(&six, &server, &error), BW_OK);
        int fd = dial();
        assert_true(ask(fd, "GET", "/now", &reply));
        close(fd);
        http_server_close(server);
    }
    server = first;
    assert_int_equal(answer_to("GET /now HTTP/1.1\r\nHost: x\r\n\r\n", false).status, 200);
}

struct send_nonsense {
    uint16_t port;
    atomic_bool is_over;
};

/* A client that repeatedly sends bytes that are not HTTP. */
static void *send_nonsense(void *context)
{
    struct send_nonsense *how = context;
    static const char nonsense[] = "POST /item/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n";
    char answer[256];
    while (!atomic_load(&how->is_over)) {
        int fd = dial_port(how->port);
        if (fd < 0)
            continue;
        if (send(fd, nonsense, sizeof nonsense - 1, MSG_NOSIGNAL) > 0)
            (void)!recv(fd, answer, sizeof answer, 0);
        close(fd);
    }
    return NULL;
}

static void server_closes_during_invalid_requests_without_leaking_descriptors(void **state)
{
    (void)state;
    enum { ROUNDS = 20, CLIENTS = 4 };
    struct server *first = server;
    struct bw_error error;
    pthread_t clients[CLIENTS];
    int before = count_descriptors();
    for (int round = 0; round < ROUNDS; round++) {
        struct send_nonsense how = {.is_over = false};
        assert_int_equal(http_server_open(&settings, &server, &error), BW_OK);
        how.port = http_server_port(server);
        for (int i = 0; i < CLIENTS; i++)
            assert_int_equal(pthread_create(&clients[i], NULL, send_nonsense, &how), 0);
        usleep(3000);
        http_server_close(server);
        atomic_store(&how.is_over, true);
        for (int i = 0; i < CLIENTS; i++)
            pthread_join(clients[i], NULL);
    }
    server = first;
    assert_int_equal(count_descriptors(), before);
}

static void json_memory_stays_installed_when_a_server_is_opened(void **state)
{
    (void)state;
    struct server *first = server;
    struct bw_error error;
    json_malloc_t allocate;
    json_free_t release;
    http_server_install_memory();
    assert_int_equal(http_server_open(&settings, &server, &error), BW_OK);
    json_get_alloc_funcs(&allocate, &release);
    assert_true(allocate == json_memory_allocate);
    http_server_close(server);
    server = first;
}

static void open_connections_get_one_more_answer_after_accepting_stops(void **state)
{
    (void)state;
    struct reply reply;
    int fd = dial(), waiting = dial();
    assert_true(ask(fd, "GET", "/now", &reply));
    assert_true(send_text(waiting, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n"));
    await_parked(1, 0);
    http_server_stop_accepting(server);
    http_server_stop_accepting(server);
    assert_int_equal(dial(), -1);
    assert_true(ask(fd, "GET", "/now", &reply));
    assert_int_equal(reply.status, 200);
    assert_non_null(strcasestr(reply.head, "Connection: close\r\n"));
    assert_true(is_closed(fd));
    exchange_refuse(take(NULL), BW_NO_JOB, NULL);
    assert_true(read_reply(waiting, &reply));
    assert_int_equal(reply.status, 498);
    assert_true(is_closed(waiting));
    close(fd);
    close(waiting);
}

/* ---- Many at once ---- */

enum { CLIENTS = 12, ROUNDS = 60, ANSWERERS = 3 };

static struct {
    atomic_bool is_over;
    atomic_int answered, left;
} storm;

static void *answer_parked(void *context)
{
    unsigned seed = (unsigned)(uintptr_t)context;
    while (!atomic_load(&storm.is_over)) {
        struct exchange *exchange = take(NULL);
        if (exchange == NULL)
            sched_yield();
        else if (rand_r(&seed) % 2 == 0 && exchange_is_gone(exchange))
            exchange_refuse(exchange, BW_NO_JOB, NULL);
        else
            exchange_answer_json(exchange, json_pack("{s:i}", "job", 7));
    }
    return NULL;
}

/* Sends one request of a random kind. False: the connection has ended, by the client or by the
 * server. */
static bool storm_round(int fd, unsigned *seed)
{
    static const char *const requests[] = {
        "GET /park HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /slow_park HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /now HTTP/1.1\r\nHost: x\r\n\r\nGET /park HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\ntext=a",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\ntext=a",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\ntext=a",
    };
    struct reply reply;
    int kind = rand_r(seed) % 6;
    bool leaves = kind == 5 || rand_r(seed) % 4 == 0;
    if (!send_text(fd, requests[kind]))
        fail_msg("can't send");
    if (leaves && rand_r(seed) % 2 == 0)
        usleep((useconds_t)(rand_r(seed) % 500));
    if (leaves) {
        atomic_fetch_add(&storm.left, 1);
        return false;
    }
    for (int i = 0; i < (kind == 2 ? 2 : 1); i++) {
        if (!read_reply(fd, &reply) || reply.status != (kind == 4 ? 413 : 200))
            fail_msg("no answer, or %d", reply.status);
        atomic_fetch_add(&storm.answered, 1);
    }
    return kind != 4;
}

static void *run_storm_client(void *context)
{
    unsigned seed = (unsigned)(uintptr_t)context;
    int fd = -1;
    for (int i = 0; i < ROUNDS; i++) {
        fd = fd >= 0 ? fd : dial();
        if (!storm_round(fd, &seed)) {
            close(fd);
            fd = -1;
        }
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void storm_of_clients_that_connect_wait_and_disconnect(void **state)
{
    (void)state;
    pthread_t clients[CLIENTS], answerers[ANSWERERS];
    atomic_store(&storm.is_over, false);
    for (uintptr_t i = 0; i < ANSWERERS; i++)
        pthread_create(&answerers[i], NULL, answer_parked, (void *)(i + 100));
    for (uintptr_t i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i], NULL, run_storm_client, (void *)(i + 1));
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    await_in_flight(0);
    atomic_store(&storm.is_over, true);
    for (int i = 0; i < ANSWERERS; i++)
        pthread_join(answerers[i], NULL);
    assert_true(atomic_load(&storm.answered) > 0 && atomic_load(&storm.left) > 0);
    assert_int_equal(parked.count, 0);
}

/* The server is usable after the attempt to free it. */
static void server_with_a_parked_request_is_not_freed(void **state)
{
    (void)state;
    struct reply reply;
    int waiting = dial();
    assert_true(send_text(waiting, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n"));
    await_parked(1, 0);
    assert_false(http_server_close(server));
    assert_int_equal(http_server_in_flight(server), 1);
    exchange_refuse(take(NULL), BW_NO_JOB, NULL);
    assert_true(read_reply(waiting, &reply));
    assert_int_equal(reply.status, 498);
    close(waiting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define HTTP_SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
        HTTP_SERVER_TEST(json_memory_stays_installed_when_a_server_is_opened),
        HTTP_SERVER_TEST(shared_path_belongs_to_the_first_protocol_unless_claimed),
        HTTP_SERVER_TEST(refusal_has_the_form_of_the_paths_protocol),
        HTTP_SERVER_TEST(answers_at_once_and_keeps_the_connection),
        HTTP_SERVER_TEST(refusals_have_json_and_headers),
        HTTP_SERVER_TEST(request_with_ambiguous_length_is_refused_and_closed),
        HTTP_SERVER_TEST(unparsable_request_is_refused_in_the_same_form),
        HTTP_SERVER_TEST(path_with_ambiguous_escapes_is_refused),
        HTTP_SERVER_TEST(bodies_are_read_in_any_pieces),
        HTTP_SERVER_TEST(body_at_the_limit_is_accepted),
        HTTP_SERVER_TEST(a_length_over_the_limit_is_refused_before_the_body_is_sent),
        HTTP_SERVER_TEST(a_client_that_is_still_sending_sees_the_refusal),
        HTTP_SERVER_TEST(chunks_without_end_are_refused),
        HTTP_SERVER_TEST(a_parked_request_is_answered_by_another_thread),
        HTTP_SERVER_TEST(disconnect_is_noticed),
        HTTP_SERVER_TEST(earlier_disconnect_is_noticed),
        HTTP_SERVER_TEST(connections_of_disconnected_clients_are_closed_soon),
        HTTP_SERVER_TEST(error_names_why_listening_failed),
        HTTP_SERVER_TEST(two_servers_run_side_by_side),
        HTTP_SERVER_TEST(server_closes_during_invalid_requests_without_leaking_descriptors),
        HTTP_SERVER_TEST(open_connections_get_one_more_answer_after_accepting_stops),
        HTTP_SERVER_TEST(server_with_a_parked_request_is_not_freed),
        HTTP_SERVER_TEST(storm_of_clients_that_connect_wait_and_disconnect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
