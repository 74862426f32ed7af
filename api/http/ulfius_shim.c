/*
 * ulfius_shim: uses ulfius for two things: it starts and stops libmicrohttpd's daemon, and it turns
 * an answer into a response.
 *
 * Ulfius lacks two features that are needed here: answering later without a waiting thread, and
 * refusing a request before its body is read. So our handler must be called before ulfius's, for
 * which ulfius has no option; ulfius gets a request only when its answer is ready. The daemon gets
 * no listening socket, since connections are accepted and counted before (api/http/acceptor.h). It
 * is started with the flags for suspending connections and for upgrading them to websockets.
 *
 * Two functions of libmicrohttpd are interposed: this file defines functions of the same names,
 * which libulfius and libmicrohttpd itself call, since symbols of the executable take precedence.
 * MHD_start_daemon puts our handler in front of ulfius's. MHD_queue_response replaces the HTML
 * pages with which libmicrohttpd refuses a request that it can't parse. scripts/check checks that
 * the binary exports them; ulfius_shim_start checks that they were called.
 *
 * libmicrohttpd's own functions are found by dlsym. A third function, o_set_alloc_funcs, makes
 * ulfius and jansson allocate memory as described in common/base/json_memory.h.
 */
#include "api/http/server_internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_memory.h"

/* libmicrohttpd's own function, found before a server is started. */
static enum MHD_Result (*library_queue_response)(struct MHD_Connection *, unsigned int,
                                                 struct MHD_Response *);

/* ---- Answers ---- */

/* The exchange that is being answered. Ulfius's callback for an answer does not name the exchange,
 * but runs on the thread that called ulfius. */
static _Thread_local struct exchange *answering;

/* Writes the headers for browsers: the origin that may read the answer, and, for OPTIONS, the
 * allowed methods. */
static void allow_origin(const struct answer *answer, struct _u_map *headers)
{
    u_map_put(headers, "Access-Control-Allow-Origin", answer->cors);
    if (strcmp(answer->cors, "*") != 0)
        u_map_put(headers, "Vary", "Origin");
    if (answer->status != MHD_HTTP_NO_CONTENT)
        return;
    u_map_put(headers, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    u_map_put(headers, "Access-Control-Allow-Methods", answer->allow);
}

/* Writes the headers WWW-Authenticate and Retry-After. */
static void write_hints(const struct answer *answer, struct _u_map *headers)
{
    char seconds[16];
    if (answer->asks_for_token)
        u_map_put(headers, "WWW-Authenticate", "Bearer");
    snprintf(seconds, sizeof seconds, "%d", answer->retry_after_s);
    if (answer->retry_after_s > 0)
        u_map_put(headers, "Retry-After", seconds);
}

static int ulfius_shim_write_answer(const struct _u_request *request, struct _u_response *response,
                                    void *context)
{
    struct answer *answer = &answering->answer;
    char id[REQUEST_ID_SIZE];
    (void)request;
    (void)context;
    response->status = answer->status;
    request_id_of(&answering->request, id);
    u_map_put(response->map_header, REQUEST_ID_HEADER, id);
    if (answer->body != NULL) {
        u_map_put(response->map_header, "Content-Type", answer->type);
        response->binary_body_length = answer->body_length;
        response->binary_body = answer->body; /* stolen: ulfius frees it */
        answer->body = NULL;
    }
    if (answer->allow != NULL)
        u_map_put(response->map_header, "Allow", answer->allow);
    if (answer->cors != NULL)
        allow_origin(answer, response->map_header);
    write_hints(answer, response->map_header);
    if (answer->status == MHD_HTTP_UPGRADE_REQUIRED) {
        u_map_put(response->map_header, "Upgrade", "websocket");
        u_map_put(response->map_header, "Sec-WebSocket-Version", "13");
    }
    for (unsigned i = 0; i < answer->header_count && answer->status < MHD_HTTP_BAD_REQUEST; i++)
        u_map_put(response->map_header, answer->headers[i].name, answer->headers[i].value);
    if (answer->closes)
        u_map_put(response->map_header, "Connection", "close");
    return U_CALLBACK_COMPLETE;
}

/* Passes the request to ulfius only now, so that ulfius holds no memory for waiting requests.
 * Ulfius needs two calls, for the headers and for the end. Its default endpoint writes the
 * answer. */
enum MHD_Result ulfius_shim_answer(struct server *server, struct exchange *exchange)
{
    const char *method = exchange->request.method;
    size_t no_upload = 0;
    exchange->ulfius = ulfius_uri_logger(NULL, "/");
    answering = exchange;
    enum MHD_Result result = MHD_YES;
    for (int call = 0; call < 2 && result == MHD_YES; call++)
        result = server->ulfius_handler(server->ulfius_context, exchange->connection, "/", method,
                                        MHD_HTTP_VERSION_1_1, NULL, &no_upload, &exchange->ulfius);
    answering = NULL;
    return result;
}

void ulfius_shim_end_request(struct exchange *exchange, enum MHD_RequestTerminationCode code)
{
    if (exchange->ulfius != NULL)
        mhd_request_completed(NULL, exchange->connection, &exchange->ulfius, code);
}

/* ---- Functions that are interposed ---- */

/* The HTTP server that is being started on this thread, for MHD_start_daemon below. */
static _Thread_local struct server *starting;

/* Ulfius and libmicrohttpd call the two functions below instead of libmicrohttpd's, since symbols
 * of the executable take precedence. The attributes keep them visible. */
#if defined(__clang__)
#define HOOK __attribute__((visibility("default"), used))
#else
#define HOOK __attribute__((visibility("default"), used, externally_visible))
#endif

/* Puts our handler in front of ulfius's, for which ulfius has no option. */
HOOK struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port,
                                         MHD_AcceptPolicyCallback accept_policy,
                                         void *accept_context, MHD_AccessHandlerCallback handler,
                                         void *context, ...)
{
    struct server *server = starting;
    if (server != NULL) {
        server->ulfius_handler = handler;
        server->ulfius_context = context;
        handler = http_server_access;
    }
    va_list options;
    va_start(options, context);
    struct MHD_Daemon *daemon = MHD_start_daemon_va(flags, port, accept_policy, accept_context,
                                                    handler, server != NULL ? server : context,
                                                    options);
    va_end(options);
    if (server != NULL)
        server->daemon = daemon;
    return daemon;
}

static void find_library_functions(void)
{
    *(void **)&library_queue_response = dlsym(RTLD_NEXT, "MHD_queue_response");
}

enum MHD_Result ulfius_shim_queue_response(struct MHD_Connection *connection, unsigned int status,
                                           struct MHD_Response *response)
{
    return library_queue_response(connection, status, response);
}

/* libmicrohttpd's parser calls this with a page of its own. Our refusal is sent instead, and the
 * sending side of the socket is shut. The page is still queued, but can't be sent, so that
 * libmicrohttpd closes the connection in its usual way.
 *
 * Returning MHD_NO is not possible: libmicrohttpd would free the connection's memory, which several
 * of its parsers (of arguments, of cookies) then go on reading. Queueing our refusal is not
 * possible either: when a Content-Length or cookies can't be parsed, libmicrohttpd builds the
 * headers of its answer twice.
 *
 * A daemon that is being stopped returns MHD_YES without queueing anything, and crashes on the
 * missing page. So a daemon is stopped only without connections (http_server_close). */
HOOK enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status,
                                        struct MHD_Response *response)
{
    if (answering != NULL)
        return library_queue_response(connection, status, response);
    http_server_refuse_unreadable(connection, status);
    return library_queue_response(connection, status, response);
}

/* ---- Start and stop ---- */

void http_server_install_memory(void)
{
    json_memory_install();
    o_set_alloc_funcs(json_memory_allocate, realloc, free);
}

static enum bw_code ulfius_shim_prepare(struct server *server, struct bw_error *error)
{
    if (ulfius_init_instance(&server->ulfius, server->port, NULL, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    server->has_instance = true;
    server->ulfius.check_utf8 = 0;
    server->ulfius.allowed_post_processor = U_POST_PROCESS_NONE;
    if (ulfius_set_default_endpoint(&server->ulfius, ulfius_shim_write_answer, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    return BW_OK;
}

enum bw_code ulfius_shim_start(struct server *server, struct MHD_OptionItem *options,
                               struct bw_error *error)
{
    static pthread_once_t is_found = PTHREAD_ONCE_INIT;
    enum bw_code code = ulfius_shim_prepare(server, error);
    if (code != BW_OK)
        return code;
    pthread_once(&is_found, find_library_functions);
    starting = server;
    int result = ulfius_start_framework_with_mhd_options(
        &server->ulfius,
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
            MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC,
        options);
    starting = NULL;
    if (result != U_OK)
        return bw_fail(error, BW_INTERNAL, "the HTTP server can't be started (ulfius: %d)", result);
    server->is_started = true;
    if (server->ulfius_handler == NULL || server->daemon == NULL || library_queue_response == NULL)
        return bw_fail(
            error, BW_INTERNAL,
            "this binary does not export the functions that it interposes: build it as the "
            "build files say");
    return BW_OK;
}

void ulfius_shim_stop(struct server *server)
{
    if (server->is_started)
        ulfius_stop_framework(&server->ulfius);
    if (server->has_instance)
        ulfius_clean_instance(&server->ulfius);
}
