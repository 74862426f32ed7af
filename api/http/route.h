/*
 * route: the rows of a protocol's table of endpoints. A new endpoint needs only a row: dispatch
 * finds the route, authenticates the request, reads the arguments and then calls the handler. Pure;
 * safe from any thread.
 */
#ifndef API_HTTP_ROUTE_H
#define API_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json.h"

struct api; /* the context of the process: api/api.h */
struct exchange;

/* Who may use a route. How senders prove it depends on their protocol: api/http/wire_protocol.h. */
enum auth {
    AUTH_NONE,
    AUTH_CLIENT,   /* a client */
    AUTH_MEMBER,   /* a client, or one that may only read */
    AUTH_OPERATOR, /* the operator: the cluster token in the header Authorization */
    AUTH_CLUSTER,  /* a sender with the cluster token */
    AUTH_WORKER,   /* a registered worker */
    AUTH_SOCKET,   /* as AUTH_CLUSTER, for a websocket, which is opened before a refusal */
    AUTH_INTERNAL, /* the scheduler */
};

enum body_kind {
    BODY_NONE,      /* arguments come from the query; a body is read and ignored */
    BODY_UNREAD,    /* only the path has arguments; query and body are ignored */
    BODY_ARGUMENTS, /* query, and a form (urlencoded or multipart) or a JSON object */
    BODY_DOCUMENT,  /* argument json_payload as above, or the JSON object itself: parsed into
                       arguments["document"] */
    BODY_JSON, /* a JSON object, whatever its Content-Type; it becomes the arguments. An invalid one
                  is BW_BAD_BODY; none at all is {}, if no field is required */
    BODY_FILE, /* a file, whatever its Content-Type, which is not held in memory
                  (exchange_received_file); arguments come from the query */
    BODY_BYTES /* at most ROUTE_BYTES_MAX bytes of any kind, in memory; arguments come from the
                  query */
};

enum route_flags {
    ROUTE_BLOCKING = 1,  /* the handler may wait for the database: it runs on the thread pool */
    ROUTE_URGENT = 2,    /* heartbeats and results, for which threads are reserved */
    ROUTE_QUIET = 4,     /* access log at debug level */
    ROUTE_HEARTBEAT = 8, /* a result, whose sender counts as alive while its body arrives */
    ROUTE_CURRENT = 16, /* waits for operations of this replica's websockets; with ROUTE_BLOCKING */
    ROUTE_UNSAFE = 256, /* GET has side effects (takes a job, registers, opens a websocket), so
                           there is no HEAD */
    ROUTE_BODY_SMALL = 1024, /* its body has at most ROUTE_SMALL_BYTES */
    ROUTE_BODY_MEDIUM = 2048 /* its body has at most ROUTE_MEDIUM_BYTES */
};

struct route {
    const char *method;
    const char *path; /* a pattern: see path_match */
    enum auth auth;
    enum body_kind body;
    unsigned flags;
    const struct json_field
        *fields; /* the arguments; strings from query and form are converted by kind; NULL: none */
    /* The handler. BW_OK: it has answered. BW_PENDING: it answers later. Any other code: dispatch
     * refuses with `error`. */
    enum bw_code (*handle)(struct api *api, struct exchange *exchange, struct bw_error *error);
};

enum { ROUTE_ALLOWED_SIZE = 64, PATH_PARTS = 3 };

enum {
    ROUTE_SMALL_BYTES = 4 * 1024,
    ROUTE_MEDIUM_BYTES = 16 * 1024,
    ROUTE_BYTES_MAX = 64 * 1024,
    ROUTE_SMALL_COUNT = 64,       /* limit of JSON keys and values in such short bodies */
    ROUTE_RESULT_COUNT = 500000,  /* the same in a result */
    ROUTE_COUNT = 4 * 1000 * 1000 /* the same elsewhere: 100,000 students with 20 variables each */
};

/* The limit of a request's body in bytes. `most`: the server's limit. */
size_t route_body_limit(const struct route *route, size_t most);

/* The limit of keys and values of a request's JSON. */
size_t route_json_count(const struct route *route);

/* Adds the methods of a comma-separated list to `allowed`, each once. */
void route_allow_all(const char *methods, char allowed[ROUTE_ALLOWED_SIZE]);

/* A path that matches a pattern. */
struct path_match {
    char *copy;                    /* own: free() */
    const char *parts[PATH_PARTS]; /* the parts in place of braces, in order; "": none */
    const char *id;                /* the part in place of "{id}"; "": none */
};

/* Whether the whole decoded path matches the pattern. In a pattern, {id} matches any text without
 * "/"; if more follows, it matches only the id of a run, since another protocol has names in such
 * places. Any other word in braces matches a name: [-A-Za-z0-9_]+, at most as long as a worker's
 * id. A pattern has at most PATH_PARTS braces. On success *match is filled, and the caller frees
 * match->copy. */
bool path_match(const char *pattern, const char *path, struct path_match *match);

/* The route for a method and a decoded path, unless `disowns` (may be NULL) is true for the path's
 * parts. HEAD is allowed where a GET only reads. NULL: there is none; then the methods that the
 * path allows are added to the comma-separated list `allowed`. On success *match is filled, and the
 * caller frees match->copy. */
const struct route *route_find(const struct route *routes, const char *method, const char *path,
                               bool (*disowns)(const char *const parts[PATH_PARTS]),
                               struct path_match *match, char allowed[ROUTE_ALLOWED_SIZE]);

#endif
