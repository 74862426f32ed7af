#include "api/openapi/request_parts.h"

#include <stdio.h>
#include <string.h>

#include "api/openapi/schemas.h"
#include "common/domain/job.h"

enum { PART_SIZE = 64 };

static const char media_json[] = "application/json";

/* ---- Parameters ---- */

/* Moves *path behind its next part in braces, whose name is written. False: there is none. */
static bool next_part(const char **path, char name[PART_SIZE])
{
    const char *begin = strchr(*path, '{');
    if (begin == NULL)
        return false;
    const char *end = strchr(begin, '}');
    snprintf(name, PART_SIZE, "%.*s", (int)(end - begin - 1), begin + 1);
    *path = end + 1;
    return true;
}

/* What may stand in place of "{name}", with `rest` behind it: what path_match accepts; of names, an
 * id where only an id is of use. */
static json_t *part_schema(const char *name, const char *rest)
{
    if (strcmp(name, "job") == 0)
        return json_pack("{s:s,s:s}", "type", "string", "pattern", "^[0-9a-f]{32}$");
    if (strcmp(name, "id") != 0)
        return json_pack("{s:s,s:s,s:i}", "type", "string", "pattern", "^[-A-Za-z0-9_]+$",
                         "maxLength", WORKER_ID_SIZE - 1);
    if (rest[0] == '\0')
        return json_pack("{s:s,s:s}", "type", "string", "pattern", "^[^/]+$");
    return json_pack("{s:s,s:s}", "type", "string", "pattern", "^[0-9a-f]{24}$");
}

static json_t *parameter(const char *name, const char *place, bool is_required, json_t *schema)
{
    return json_pack("{s:s,s:s,s:b,s:o}", "name", name, "in", place, "required", is_required,
                     "schema", schema);
}

/* The arguments that the route reads from the query alone. */
static const struct json_field *query_fields(const struct route *route)
{
    bool is_query = route->body == BODY_NONE || route->body == BODY_FILE ||
                    route->body == BODY_BYTES;
    return is_query ? route->fields : NULL;
}

json_t *request_parameters(const struct route *route, const char *path)
{
    char own[PART_SIZE], name[PART_SIZE];
    const char *rest = route->path;
    json_t *parameters = json_array();
    while (next_part(&rest, own) && next_part(&path, name))
        json_array_append_new(parameters, parameter(name, "path", true, part_schema(own, rest)));
    const struct json_field *field = query_fields(route);
    for (; field != NULL && field->name != NULL; field++)
        json_array_append_new(parameters, parameter(field->name, "query", field->is_required,
                                                    schema_of_field(field, route->path)));
    return parameters;
}

/* ---- The body ---- */

static bool has_required(const struct json_field *field)
{
    for (; field != NULL && field->name != NULL; field++)
        if (field->is_required)
            return true;
    return false;
}

/* The body as JSON. */
static json_t *json_schema(const struct route *route, const struct operation *row)
{
    return row->body != NULL ? schema_reference(row->body)
                             : schema_of_fields(route->fields, route->path);
}

/* The body as a form, whose document is the text of an argument. */
static json_t *form_schema(const struct route *route)
{
    if (route->body != BODY_DOCUMENT)
        return schema_of_fields(route->fields, route->path);
    return json_pack("{s:s,s:{s:{s:s,s:s}},s:[s],s:b}", "type", "object", "properties",
                     "json_payload", "type", "string", "contentMediaType", media_json, "required",
                     "json_payload", "additionalProperties", 0);
}

static void add_content(json_t *content, const char *type, json_t *schema)
{
    json_object_set_new(content, type, json_pack("{s:o}", "schema", schema));
}

json_t *request_body(const struct route *route, const struct operation *row)
{
    json_t *content = json_object();
    bool is_form = route->body == BODY_ARGUMENTS || route->body == BODY_DOCUMENT;
    if (is_form || route->body == BODY_JSON)
        add_content(content, media_json, json_schema(route, row));
    if (is_form) {
        add_content(content, "application/x-www-form-urlencoded", form_schema(route));
        add_content(content, "multipart/form-data", form_schema(route));
    }
    if (route->body == BODY_FILE || route->body == BODY_BYTES)
        json_object_set_new(content, "application/octet-stream", json_object());
    if (json_object_size(content) == 0) {
        json_decref(content);
        return NULL;
    }
    json_t *body = json_pack("{s:b,s:o}", "required", has_required(route->fields), "content",
                             content);
    if (is_form)
        json_object_set_new(body, "description",
                            json_string("Each argument may be in the query instead."));
    return body;
}

void request_body_merge(json_t *body, const json_t *other)
{
    json_t *own = json_object_get(json_object_get(body, "content"), media_json);
    const json_t *more = json_object_get(json_object_get(other, "content"), media_json);
    if (own == NULL || more == NULL)
        return;
    json_object_set_new(own, "schema",
                        json_pack("{s:[O,O]}", "anyOf", json_object_get(own, "schema"),
                                  json_object_get(more, "schema")));
}

/* ---- Credentials ---- */

static const char client_token[] = "client_token", cluster_token[] = "cluster_token",
                  course_token[] = "course_token", query_token[] = "query_token";

static json_t *with_token(const char *name)
{
    return json_pack("[{s:[]}]", name);
}

json_t *request_security(const struct route *route, enum protocol protocol)
{
    bool is_course = protocol_properties(protocol)->has_courses;
    switch (route->auth) {
    case AUTH_CLIENT:
        return is_course ? with_token(course_token) : json_pack("[{s:[]},{}]", client_token);
    case AUTH_MEMBER:
        return json_pack("[{s:[]},{s:[]}]", course_token, query_token);
    case AUTH_OPERATOR:
        return with_token(cluster_token);
    case AUTH_CLUSTER:
    case AUTH_WORKER:
    case AUTH_SOCKET: /* graders of the classic protocol have their credential in an argument */
        return is_course ? with_token(cluster_token) : json_pack("[{}]");
    case AUTH_NONE:
    case AUTH_INTERNAL:
        break;
    }
    return json_pack("[{}]");
}

static json_t *bearer(const char *text)
{
    return json_pack("{s:s,s:s,s:s}", "type", "http", "scheme", "bearer", "description", text);
}

json_t *request_security_schemes(void)
{
    return json_pack(
        "{s:o,s:o,s:o,s:o}", client_token,
        bearer("The token of --client-token. On a loopback address, or with --anonymous-clients, "
               "clients need none."),
        course_token, bearer("A token of the course."), query_token,
        bearer("A token of the course that may only look."), cluster_token,
        bearer("The cluster token."));
}
