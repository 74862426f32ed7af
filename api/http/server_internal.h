/*
 * server_internal: the state of an HTTP server, for server.c (start and stop), connection.c (a
 * request, from its headers to its answer) and ulfius_shim.c (ulfius and libmicrohttpd).
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
    struct MHD_Daemon *daemon; /* ulfius's daemon */
    struct connection_table *connections;
    struct acceptor *acceptor;
    int listener; /* -1 once the acceptor owns it */
    uint16_t port;
    MHD_AccessHandlerCallback ulfius_handler; /* ulfius's handler, which ours replaces */
    void *ulfius_context;
    atomic_size_t in_flight;
    atomic_size_t upgraded;   /* connections that became websockets */
    atomic_size_t unanswered; /* exchanges given to dispatch and not taken back; must be 0 before
                                 the server is stopped */
    struct memory_budget *own_memory; /* own: NULL: settings.memory was given */
    atomic_bool is_stopping;          /* connections are closed after their next answer */
    atomic_bool is_closing;           /* new requests are refused */
};

enum { HEAD_SIZE = 256, RAW_HEADERS_SIZE = 4 * HEAD_SIZE };

/* An answer that is written to the socket without libmicrohttpd: status, reason, length, other
 * headers or "", body. */
#define RAW_ANSWER \
    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n%s"

/* ---- connection.c: called by libmicrohttpd, on its threads ---- */

/* Called with a request's headers, with parts of its body, and at its end. */
enum MHD_Result http_server_access(void *context, struct MHD_Connection *connection,
                                   const char *url, const char *method, const char *version,
                                   const char *upload_data, size_t *upload_data_size,
                                   void **con_cls);

/* Called when a request's first line was received, and when the request is over, for any reason. */
void *http_server_begin_request(void *context, const char *uri, struct MHD_Connection *connection);
void http_server_end_request(void *context, struct MHD_Connection *connection, void **con_cls,
                             enum MHD_RequestTerminationCode code);

/* Called to decode the path, or a part of the query. */
size_t http_server_unescape(void *context, struct MHD_Connection *connection, char *text);

/* The connection table's entry of a connection; NULL: out of memory. */
struct connection *http_server_connection(struct MHD_Connection *connection);

/* Writes the headers of an answer that is sent without libmicrohttpd: its id, Retry-After, and the
 * origin that may read it. */
void http_server_write_raw_headers(const struct exchange *exchange, char *text, size_t size);

/* Takes the client's X-Request-Id from the headers that are parsed so far. */
void http_server_note_id(struct exchange *exchange);

/* Takes the client's address from the connection. */
void http_server_note_address(struct exchange *exchange);

/* Sends text to the socket, without waiting. If the socket's buffer is full, the text is dropped:
 * the client is not reading. */
void http_server_send_raw(int fd, const char *text, int length);

/* ---- server.c ---- */

/* A refusal that is sent without libmicrohttpd. */
struct raw_refusal {
    unsigned status;
    const char *sentence;
};

/* Sends a refusal without libmicrohttpd, with the exchange's id and its headers for browsers; shuts
 * the sending side of the socket; and reports the request as finished. On the thread that serves
 * the connection, or with its parts locked. */
void http_server_refuse_raw(const struct server *server, const struct exchange *exchange, int fd,
                            const struct raw_refusal *refusal);

/* Sends a refusal in place of libmicrohttpd's own page for a request that it can't parse, and shuts
 * the sending side of the socket. On the thread that serves the connection. */
void http_server_refuse_unreadable(struct MHD_Connection *connection, unsigned int status);

/* ---- ulfius_shim.c ---- */

/* Starts the daemon, with http_server_access as the handler of requests. BW_INTERNAL, with a
 * sentence. */
enum bw_code ulfius_shim_start(struct server *server, struct MHD_OptionItem *options,
                               struct bw_error *error) BW_CHECKED;

/* Stops the daemon, as far as it was started. It must have no connections: see MHD_queue_response
 * in ulfius_shim.c. */
void ulfius_shim_stop(struct server *server);

/* Queues the exchange's answer. MHD_NO: the connection is to be closed. */
enum MHD_Result ulfius_shim_answer(struct server *server, struct exchange *exchange);

/* The request is over: ulfius frees its data of the request, if it has any. */
void ulfius_shim_end_request(struct exchange *exchange, enum MHD_RequestTerminationCode code);

/* libmicrohttpd's own MHD_queue_response, in place of the interposed function of that name. */
enum MHD_Result ulfius_shim_queue_response(struct MHD_Connection *connection, unsigned int status,
                                           struct MHD_Response *response);

#endif
