/*
 * http_server_internal: the inside of an HTTP server, for server.c (which starts and stops it, and
 * stands in front of ulfius) and connection.c (a request, from its headers to its answer).
 */
#ifndef API_HTTP_SERVER_INTERNAL_H
#define API_HTTP_SERVER_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include <ulfius.h>

#include "api/http/acceptor.h"
#include "api/http/connection_table.h"
#include "api/http/exchange_internal.h"
#include "api/http/lingering_close.h"
#include "api/http/server.h"
#include "api/http/request_timeout.h"

struct server {
    struct http_server_settings settings;
    struct exchange_host host;
    struct lingering_close *lingering_close;
    struct timeout *timeout;
    struct _u_instance ulfius;
    bool has_instance, is_started;
    struct MHD_Daemon *daemon; /* ulfius's */
    struct connection_table *connections;
    struct acceptor *acceptor;
    int listener; /* until the acceptor has it; then -1 */
    uint16_t port;
    MHD_AccessHandlerCallback ulfius_handler; /* what stands behind ours */
    void *ulfius_context;
    atomic_size_t in_flight;
    atomic_size_t upgraded;   /* connections that became websockets */
    atomic_size_t unanswered; /* given to dispatch, not taken back: what must not be left when the
                                 server is stopped */
    struct memory_budget *own_memory; /* NULL: the settings have one */
    atomic_bool is_stopping;          /* no keep-alive any more */
    atomic_bool is_closing;           /* nothing goes to dispatch any more */
};

enum { HEAD_SIZE = 256, RAW_HEADERS_SIZE = 4 * HEAD_SIZE };

/* An answer that is written past the server: status, reason, length, other headers or "", body. */
#define RAW_ANSWER \
    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n%s"

/* ---- connection.c: what the server calls, on its threads ---- */

/* A request's headers, parts of its body, its end. */
enum MHD_Result http_server_access(void *context, struct MHD_Connection *connection,
                                   const char *url, const char *method, const char *version,
                                   const char *upload_data, size_t *upload_data_size,
                                   void **con_cls);

/* Its first line is read; it is over, whatever became of it. */
void *http_server_begin_request(void *context, const char *uri, struct MHD_Connection *connection);
void http_server_end_request(void *context, struct MHD_Connection *connection, void **con_cls,
                             enum MHD_RequestTerminationCode code);

/* The server decodes the path, or a part of the query. */
size_t http_server_unescape(void *context, struct MHD_Connection *connection, char *text);

/* What was entered for a connection; NULL: memory was short. */
struct connection *http_server_connection(struct MHD_Connection *connection);

/* Ulfius's default endpoint: the answer at hand. */
int http_server_write_answer(const struct _u_request *request, struct _u_response *response,
                             void *context);

/* The headers of an answer that is written past the server: its id, when to ask again, and who may
 * read it in a browser. */
void http_server_write_raw_headers(const struct exchange *exchange, char *text, size_t size);

/* Takes the client's X-Request-Id from as many headers as are parsed. */
void http_server_note_id(struct exchange *exchange);

/* Takes the client's address. */
void http_server_note_address(struct exchange *exchange);

/* If the socket's buffer is full, the client reads nothing anyway. */
void http_server_send_raw(int fd, const char *text, int length);

/* Is this thread writing an answer of ours? */
bool http_server_is_answering(void);

/* ---- server.c ---- */

/* A refusal that is written past the library. */
struct raw_refusal {
    unsigned status;
    const char *sentence;
};

/* Sends a refusal past the library, shuts the sending side of the socket, and reports the request
 * as finished, with the exchange's id and its headers for browsers. From the thread that serves
 * the connection, or while its parts are locked. */
void http_server_refuse_raw(const struct server *server, const struct exchange *exchange, int fd,
                            const struct raw_refusal *refusal);

/* The library's own MHD_queue_response, past our hook of that name. */
enum MHD_Result http_server_queue_response(struct MHD_Connection *connection, unsigned int status,
                                           struct MHD_Response *response);

#endif
