#include "api/openapi/openapi_document.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openapi/operations.h"
#include "api/openapi/request_parts.h"
#include "api/openapi/responses.h"
#include "api/openapi/schemas.h"
#include "api/protocols.h"
#include "common/base/alloc.h"
#include "common/base/json_write.h"
#include "common/domain/protocol_map.h"
#include "version.h"

enum { METHOD_SIZE = 16, ID_SIZE = 128, INDENT = 1 };

/* ---- An operation ---- */

/* Who may use a route, as the name of a tag. */
static const char *tag_of(enum auth auth)
{
    switch (auth) {
    case AUTH_CLIENT:
    case AUTH_MEMBER:
        return "clients";
    case AUTH_OPERATOR:
    case AUTH_INTERNAL:
        return "operators";
    case AUTH_CLUSTER:
    case AUTH_WORKER:
    case AUTH_SOCKET:
        return "graders";
    case AUTH_NONE:
        break;
    }
    return "everyone";
}

/* An id for programs that are made from the document: the protocol, the method and the words of the
 * path, as in classic_get_grading_run_id_jobs. */
static json_t *operation_id(const struct route *route, enum protocol protocol)
{
    static const char prefix[] = "/api/v1";
    char id[ID_SIZE];
    size_t length = 0;
    const char *path = route->path;
    if (strncmp(path, prefix, sizeof prefix - 1) == 0)
        path += sizeof prefix - 1;
    char *text = bw_format("%s %s %s", protocol_title(protocol), route->method, path);
    for (const char *at = text; *at != '\0' && length + 1 < sizeof id; at++) {
        if (isalnum((unsigned char)*at))
            id[length++] = (char)tolower((unsigned char)*at);
        else if (length > 0 && id[length - 1] != '_' && at[1] != '\0')
            id[length++] = '_';
    }
    free(text);
    return json_stringn(id, length);
}

/* Marks what a program that only knows requests and answers can't use. */
static void mark_long_answers(json_t *operation, const struct route *route,
                              const struct operation *row)
{
    if ((row->kinds & ANSWER_SOCKET) != 0)
        json_object_set_new(operation, "x-broadway-websocket", json_true());
    if ((row->kinds & ANSWER_EVENTS) != 0)
        json_object_set_new(operation, "x-broadway-events", json_true());
    for (size_t i = 0; i < OPERATION_STATUSES; i++)
        if (row->statuses[i] == bw_code_status(BW_NO_JOB))
            json_object_set_new(operation, "x-broadway-waits", json_true());
    if ((route->flags & ROUTE_UNSAFE) != 0)
        json_object_set_new(operation, "x-broadway-has-effect", json_true());
}

static json_t *operation_new(const struct route *route, const struct operation *row,
                             enum protocol protocol, const char *path)
{
    json_t *operation = json_pack(
        "{s:o,s:[s],s:s,s:o,s:o}", "operationId", operation_id(route, protocol), "tags",
        tag_of(route->auth), "summary", row->summary, "security", request_security(route, protocol),
        "parameters", request_parameters(route, path));
    json_t *body = request_body(route, row);
    if (body != NULL)
        json_object_set_new(operation, "requestBody", body);
    json_object_set_new(operation, "responses", responses_of(route, row, protocol));
    mark_long_answers(operation, route, row);
    return operation;
}

/* Adds an operation of another protocol with the same path and method. */
static void operation_merge(json_t *operation, const json_t *other)
{
    char *summary = bw_format("%s; in the course protocol: %s",
                              json_string_value(json_object_get(operation, "summary")),
                              json_string_value(json_object_get(other, "summary")));
    json_object_set_new(operation, "summary", json_string(summary));
    free(summary);
    json_t *tags = json_object_get(operation, "tags");
    if (!json_equal(tags, json_object_get(other, "tags")))
        json_array_extend(tags, json_object_get(other, "tags"));
    json_array_extend(json_object_get(operation, "security"), json_object_get(other, "security"));
    request_body_merge(json_object_get(operation, "requestBody"),
                       json_object_get(other, "requestBody"));
    responses_merge(json_object_get(operation, "responses"), json_object_get(other, "responses"));
    if (json_is_true(json_object_get(other, "x-broadway-waits")))
        json_object_set_new(operation, "x-broadway-waits", json_true());
}

/* ---- Paths ---- */

/* Whether two patterns differ only in the names in their braces: OpenAPI takes them for one. */
static bool has_same_shape(const char *one, const char *other)
{
    while (*one != '\0' && *one == *other) {
        if (*one == '{') {
            one += strcspn(one, "}");
            other += strcspn(other, "}");
        }
        one++;
        other++;
    }
    return *one == *other;
}

/* The path's key in the document: the first one of its shape. */
static const char *path_key(json_t *paths, const char *path)
{
    const char *key;
    json_t *item;
    json_object_foreach (paths, key, item) {
        if (has_same_shape(key, path))
            return key;
    }
    return path;
}

/* ---- Paths that two protocols share ---- */

/* Whether there is a path that matches both patterns. */
static bool has_common_path(const char *one, const char *other)
{
    while (*one != '\0' && *other != '\0') {
        size_t length = strcspn(one, "/"), other_length = strcspn(other, "/");
        bool is_open = *one == '{' || *other == '{';
        if (!is_open && (length != other_length || strncmp(one, other, length) != 0))
            return false;
        one += length;
        other += other_length;
        if (*one != *other)
            return false;
        one += *one == '/';
        other += *other == '/';
    }
    return *one == *other;
}

/* Adds the refusals of another protocol's route: a name in the path decides which of the two a
 * request belongs to. */
static void add_neighbour(json_t *responses, const struct route *route,
                          const struct route *neighbour, enum protocol protocol)
{
    const struct operation *row = operation_find(neighbour->method, neighbour->path);
    if (row == NULL || !has_common_path(route->path, neighbour->path))
        return;
    if (strcmp(route->method, neighbour->method) != 0) {
        responses_add_refusal(responses, bw_code_status(BW_METHOD_NOT_ALLOWED));
        return;
    }
    json_t *others = responses_of(neighbour, row, protocol);
    responses_merge_refusals(responses, others);
    json_decref(others);
}

static void add_neighbours(json_t *responses, const struct route *route, enum protocol own)
{
    for (int i = 0; protocols[i] != NULL; i++)
        if (i != (int)own)
            for (const struct route *other = protocols[i]->routes; other->method != NULL; other++)
                add_neighbour(responses, route, other, (enum protocol)i);
}

/* ---- All paths ---- */

static void add_route(json_t *paths, const struct route *route, enum protocol protocol)
{
    const struct operation *row = operation_find(route->method, route->path);
    if (row == NULL)
        return; /* a unit test names it */
    char method[METHOD_SIZE] = "";
    for (size_t i = 0; route->method[i] != '\0' && i + 1 < sizeof method; i++)
        method[i] = (char)tolower((unsigned char)route->method[i]);
    const char *key = path_key(paths, route->path);
    json_t *operation = operation_new(route, row, protocol, key);
    add_neighbours(json_object_get(operation, "responses"), route, protocol);
    if (json_object_get(paths, key) == NULL)
        json_object_set_new(paths, key, json_object());
    json_t *item = json_object_get(paths, key);
    json_t *known = json_object_get(item, method);
    if (known == NULL) {
        json_object_set_new(item, method, operation);
        return;
    }
    operation_merge(known, operation);
    json_decref(operation);
}

static json_t *document_paths(void)
{
    json_t *paths = json_object();
    for (int i = 0; protocols[i] != NULL; i++)
        for (const struct route *route = protocols[i]->routes; route->method != NULL; route++)
            add_route(paths, route, (enum protocol)i);
    return paths;
}

/* ---- The whole ---- */

static const char description[] =
    "Broadway hands container grading jobs to graders. docs/protocol.md and "
    "docs/protocol-course.md describe each operation. Operations whose path has {course} belong "
    "to the course protocol. HEAD is answered like a GET without an effect.";

static json_t *openapi_document_new(void)
{
    return json_pack("{s:s,s:{s:s,s:s,s:s},s:[{s:s}],s:o,s:{s:o,s:o,s:o}}", "openapi", "3.1.0",
                     "info", "title", "Broadway", "version", BROADWAY_VERSION, "description",
                     description, "servers", "url", "/", "paths", document_paths(), "components",
                     "securitySchemes", request_security_schemes(), "responses",
                     responses_components(), "schemas", schemas_components());
}

char *openapi_document_text(void)
{
    json_t *document = openapi_document_new();
    char *text = json_write(document, JSON_INDENT(INDENT));
    char *whole = bw_format("%s\n", text);
    free(text);
    json_decref(document);
    return whole;
}
