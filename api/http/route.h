/*
 * route: the one table of what this server answers. Adding a row is all it takes to add an
 * endpoint: dispatch finds the route, authenticates, reads the arguments and only then calls the
 * handler.
 */
#ifndef API_HTTP_ROUTE_H
#define API_HTTP_ROUTE_H

#include <stdbool.h>

#include "api/http/exchange.h"
#include "common/base/error.h"
#include "common/base/json.h"

struct api; /* the context of the process: api/api.h */

enum auth {
    AUTH_NONE,
    AUTH_CLIENT,   /* the client token, or a loopback listener, or --anonymous-clients */
    AUTH_CLUSTER,  /* argument `token` is the cluster token */
    AUTH_WORKER,   /* argument `worker_id` is a registered worker */
    AUTH_INTERNAL, /* Authorization: Bearer of the internal token */
    /* The course protocol's: Authorization: Bearer of */
    AUTH_COURSE_ADMIN,   /* an admin token of the course that the path names first */
    AUTH_COURSE_MEMBER,  /* the same, or a query token */
    AUTH_COURSE_CLUSTER, /* the cluster token */
    AUTH_COURSE_WORKER,  /* the same, and the worker that the path names is registered */
    AUTH_COURSE_SOCKET   /* the same, but a refusal is told only once the websocket is open */
};

enum body_kind {
    BODY_NONE,      /* arguments come from the query; a body is read and ignored */
    BODY_ARGUMENTS, /* query, form (urlencoded or multipart) or a JSON object: "{" first */
    BODY_DOCUMENT,  /* argument json_payload as above, or the JSON object itself: parsed into
                       arguments["document"] */
    BODY_JSON       /* the course protocol's: a JSON object, whatever its type is said to be; it
                       becomes the arguments */
};

enum route_flags {
    ROUTE_BLOCKING = 1, /* the handler may wait for the database: it runs on the thread pool */
    ROUTE_URGENT = 2,   /* heartbeats and results: keep room for them */
    ROUTE_QUIET = 4,    /* access log at debug level */
    ROUTE_LIFE = 8,     /* a result: while its body arrives, its sender lives */
    ROUTE_CURRENT = 16, /* waits for what websockets here have under way; with ROUTE_BLOCKING */
    ROUTE_UNSAFE = 256, /* GET does something here (takes a job, registers, opens a websocket): no
                           HEAD */
    ROUTE_BODY_SMALL = 1024, /* its body is short: ROUTE_SMALL_BYTES at most */
    ROUTE_BODY_MEDIUM = 2048 /* ROUTE_MEDIUM_BYTES */
};

struct route {
    const char *method;
    const char *path; /* "/api/v1/grading_run/{id}": one placeholder at most. Where a part follows
                         it, as in "/api/v1/grading_run/{id}/cancel", it stands for a run's id */
    enum auth auth;
    enum body_kind body;
    unsigned flags;
    const struct json_field
        *fields; /* the arguments; strings from query and form are converted by kind; NULL: none */
    /* BW_OK: it has answered. BW_PENDING: it will be answered later. Anything else: dispatch
     * refuses with `error`. */
    enum bw_code (*handle)(struct api *api, struct exchange *exchange, struct bw_error *error);
};

extern const struct route public_routes[]; /* ends with a row whose method is NULL */
extern const struct route course_routes[]; /* public ones too: api/course/route.h */
extern const struct route internal_routes[];

enum { ROUTE_ALLOWED_SIZE = 64 };

enum {
    ROUTE_SMALL_BYTES = 4 * 1024,
    ROUTE_MEDIUM_BYTES = 16 * 1024,
    ROUTE_SMALL_COUNT = 64,       /* keys and values of JSON where bodies are that short */
    ROUTE_RESULT_COUNT = 500000,  /* in a result */
    ROUTE_COUNT = 4 * 1000 * 1000 /* elsewhere: 100,000 students with 20 variables each */
};

/* How long a request's body may be; `most` is what the server takes at all. */
size_t route_body_limit(const struct route *route, size_t most);

/* How many keys and values its JSON may have. */
size_t route_json_count(const struct route *route);

/* Is it one of the course protocol's? */
static inline bool route_is_course(const struct route *route)
{
    return route->auth >= AUTH_COURSE_ADMIN;
}

/* Does it answer this method? HEAD wherever a GET only reads. */
bool route_takes(const struct route *route, const char *method);

/* Adds the methods that it takes to a comma list, unless they stand there. */
void route_allow(const struct route *route, char allowed[ROUTE_ALLOWED_SIZE]);

/* The route of a method and a decoded path, or NULL: then *allowed is a comma list of the methods
 * that the path takes ("" if the path is unknown). On success *path_id points at the {id} within
 * `path`, where it is followed by whatever follows it there. */
const struct route *route_find(const struct route *routes, const char *method, const char *path,
                               const char **path_id, char allowed[64]);

#endif
