/*
 * operations: what the OpenAPI document says of a route that the tables of routes lack: a summary,
 * what it answers, the schema of its body. One row for each route of both protocols. Callers:
 * openapi_document. Pure; safe from any thread.
 */
#ifndef API_OPENAPI_OPERATIONS_H
#define API_OPENAPI_OPERATIONS_H

/* What an operation answers, besides the JSON of its schema. */
enum answer_kind {
    ANSWER_NULL = 1,       /* of the course protocol: success, without data */
    ANSWER_EMPTY = 2,      /* nothing; with a schema: one of both */
    ANSWER_BYTES = 4,      /* the bytes of a file */
    ANSWER_EVENTS = 8,     /* server-sent events; with a schema: one of both */
    ANSWER_SOCKET = 16,    /* 101: the connection becomes a websocket */
    ANSWER_PAGE = 32,      /* a file of a web page */
    ANSWER_UNCHANGED = 64, /* also 304, for a request with If-None-Match */
    ANSWER_ROWS = 128      /* with a schema: JSON, a line of JSON per row, or CSV */
};

enum { OPERATION_STATUSES = 3 };

struct operation {
    const char *method, *path; /* those of the route */
    const char *summary;
    const char *answer; /* the schema of the JSON (in the course protocol: of its data), as schemas
                           refer to one another; NULL: none */
    const char *body;   /* the schema of the body; NULL: it follows from the route's fields */
    unsigned kinds;     /* of enum answer_kind */
    int statuses[OPERATION_STATUSES]; /* of refusals that do not follow from the route; 0: none */
};

/* The rows of all routes; ends with a row whose method is NULL. */
extern const struct operation operations[];

/* The row of a route, or NULL. */
const struct operation *operation_find(const char *method, const char *path);

#endif
