/*
 * course_route: what requests of the course protocol pass before their handler: whose a path is,
 * the bearer token, the worker, the body. The rows are in course_routes.c.
 *
 * A pattern's last or middle parts in braces stand for a name: [-A-Za-z0-9_]+. Anything else there
 * is an unknown path. Callers: the HTTP server and dispatch, on the server's threads, which never
 * wait here. Order of the checks: token format, course, token, worker, JSON, schema.
 */
#ifndef API_COURSE_ROUTE_H
#define API_COURSE_ROUTE_H

#include "api/http/exchange_internal.h"
#include "api/http/server.h"
#include "api/http/route.h"

/* The route of a method and a path in a table of the course protocol, or NULL: then the methods
 * that the path takes are added to *allowed. On success `parts` (PATH_PARTS of them) point into
 * *copy, which is new (free()). */
const struct route *course_route_find(const struct route *routes, const char *method,
                                      const char *path, char allowed[ROUTE_ALLOWED_SIZE],
                                      char **copy, const char **parts);

/* Chooses the route among those of both protocols and fills what the request says of it. The one
 * path that both have is the course protocol's if the request has an Authorization header.
 * BW_OK; BW_NO_CONTENT: it is a browser's question, answered by *allowed; BW_METHOD_NOT_ALLOWED
 * with *allowed; BW_NOT_FOUND. */
enum bw_code course_route_choose(const struct http_server_settings *settings,
                                 struct exchange *exchange, const char *path,
                                 char allowed[ROUTE_ALLOWED_SIZE]);

/* By its headers alone, may this request of the course protocol go on? BW_OK, BW_UNAUTHORIZED,
 * BW_TOO_MANY. */
enum bw_code course_route_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
    BW_CHECKED;

/* On the path that both protocols have, without a header: is it the course protocol's by its body?
 * Then it is refused for the header that is missing. */
enum bw_code course_route_judge_body(struct exchange *exchange, struct bw_error *error) BW_CHECKED;

/* Reads the body, if the route takes one, into the arguments. BW_BAD_BODY with a sentence. */
enum bw_code course_route_read(struct exchange *exchange, struct bw_error *error) BW_CHECKED;

/* Is the worker in the path known? BW_OK; BW_PENDING: only the database can say, ask
 * course_route_find_worker; BW_UNAUTHORIZED: no such worker. */
enum bw_code course_route_know_worker(struct api *api, const struct exchange *exchange,
                                      struct bw_error *error) BW_CHECKED;

/* The same, reading the database (waits). Without it nobody can say: then the worker is believed.
 */
enum bw_code course_route_find_worker(struct api *api, const struct exchange *exchange,
                                      struct bw_error *error) BW_CHECKED;

#endif
