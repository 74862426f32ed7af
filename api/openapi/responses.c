#include "api/openapi/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/openapi/schemas.h"

enum { STATUS_SIZE = 8, NAME_SIZE = 80, FIRST_REFUSAL = 400, NO_JOB = 498 };

static const char media_json[] = "application/json";

/* The form of an answer: a protocol's, or that of an operation that several have. */
enum { FORM_EITHER = PROTOCOLS, FORMS };

static const char *form_name(unsigned form)
{
    return form == FORM_EITHER ? "either" : protocol_title((enum protocol)form);
}

/* Whether answers have an envelope, and each request a token. */
static bool is_of_courses(unsigned form)
{
    return form == FORM_EITHER || protocol_properties((enum protocol)form)->has_courses;
}

/* ---- Refusals ---- */

static bool is_any(const struct route *route, unsigned form)
{
    (void)route;
    (void)form;
    return true;
}

/* Whether a credential is in a header. */
static bool has_token(const struct route *route, unsigned form)
{
    return is_of_courses(form) || route->auth == AUTH_CLIENT || route->auth == AUTH_OPERATOR;
}

static bool may_be_open(const struct route *route, unsigned form)
{
    return !is_of_courses(form) && route->auth == AUTH_CLIENT;
}

static bool has_credential(const struct route *route, unsigned form)
{
    (void)form;
    return route->auth != AUTH_NONE;
}

static bool has_part(const struct route *route, unsigned form)
{
    (void)form;
    return strchr(route->path, '{') != NULL;
}

struct refusal {
    int status;
    const char *description;
    /* Which routes answer it; NULL: those whose row in operations.c names it. */
    bool (*applies)(const struct route *route, unsigned form);
};

static const struct refusal refusals[] = {
    {400, "The request is wrong; the sentence says what.", is_any},
    {401, "The token is missing or wrong.", has_token},
    {403,
     "Without a token, this host name or origin is not allowed; or the course may not use the "
     "class.",
     may_be_open},
    {404, "There is nothing at this path, or nothing with this name.", has_part},
    {405, "The path takes another method.", NULL},
    {408, "The request came too slowly.", is_any},
    {409, "It is over, or was never started; or there are too many.", NULL},
    {413, "The body, or what it stands for, is too large.", is_any},
    {414, "The path and the query are too long.", is_any},
    {426, "The request is no websocket handshake of version 13.", NULL},
    {429, "Too many wrong tokens; Retry-After says when to try again.", has_credential},
    {431, "The headers are too long.", is_any},
    {NO_JOB, "Not an error: no job came in time.", NULL},
    {500, "A fault in Broadway.", is_any},
    {503, "Not now; Retry-After says when to try again.", is_any},
    {505, "The request is of another version of HTTP.", is_any},
    {0, NULL, NULL},
};

static bool refusal_applies(const struct refusal *refusal, const struct route *route,
                            const struct operation *row, unsigned form)
{
    for (size_t i = 0; i < OPERATION_STATUSES; i++)
        if (row->statuses[i] == refusal->status)
            return true;
    return refusal->applies != NULL && refusal->applies(route, form);
}

static json_t *refusal_reference(const char *form, int status)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "#/components/responses/%s_%d", form, status);
    return json_pack("{s:s}", "$ref", name);
}

/* A request whose path is not known yet is refused in the classic form. */
static json_t *refusal_schema(unsigned form)
{
    json_t *classic = schema_reference("error.json");
    if (!is_of_courses(form))
        return classic;
    return json_pack("{s:[o,o,o]}", "anyOf", schema_reference("course.json#/$defs/fail"),
                     schema_reference("course.json#/$defs/error"), classic);
}

static json_t *json_content(json_t *schema)
{
    return json_pack("{s:{s:o}}", media_json, "schema", schema);
}

static json_t *refusal_response(const struct refusal *refusal, unsigned form)
{
    json_t *response = json_pack("{s:s}", "description", refusal->description);
    if (is_of_courses(form) || refusal->status != NO_JOB)
        json_object_set_new(response, "content", json_content(refusal_schema(form)));
    return response;
}

json_t *responses_components(void)
{
    char name[NAME_SIZE];
    json_t *components = json_object();
    for (unsigned form = 0; form < FORMS; form++)
        for (const struct refusal *refusal = refusals; refusal->status != 0; refusal++) {
            snprintf(name, sizeof name, "%s_%d", form_name(form), refusal->status);
            json_object_set_new(components, name, refusal_response(refusal, form));
        }
    return components;
}

/* ---- Success ---- */

/* The course protocol's success around its data. */
static json_t *success_schema(json_t *data)
{
    return json_pack("{s:s,s:[s,s],s:{s:{s:s},s:o},s:b}", "type", "object", "required", "status",
                     "data", "properties", "status", "const", "success", "data", data,
                     "additionalProperties", 0);
}

static json_t *answer_schema(const struct operation *row, unsigned form)
{
    json_t *schema = row->answer != NULL ? schema_reference(row->answer)
                                         : json_pack("{s:s}", "type", "null");
    return is_of_courses(form) ? success_schema(schema) : schema;
}

static void add_bytes(json_t *content, const char *type)
{
    json_object_set_new(content, type, json_object());
}

static json_t *answer_content(const struct operation *row, unsigned form)
{
    json_t *content = row->answer != NULL || (row->kinds & ANSWER_NULL) != 0
                          ? json_content(answer_schema(row, form))
                          : json_object();
    if ((row->kinds & ANSWER_BYTES) != 0)
        add_bytes(content, "application/octet-stream");
    if ((row->kinds & ANSWER_EVENTS) != 0)
        add_bytes(content, "text/event-stream");
    if ((row->kinds & ANSWER_ROWS) != 0) {
        add_bytes(content, "application/x-ndjson");
        add_bytes(content, "text/csv");
    }
    if ((row->kinds & ANSWER_PAGE) != 0)
        add_bytes(content, "*/*");
    return content;
}

static void add_success(json_t *responses, const struct operation *row, unsigned form)
{
    if ((row->kinds & ANSWER_SOCKET) != 0) {
        json_object_set_new(
            responses, "101",
            json_pack("{s:s}", "description", "The connection becomes a websocket."));
        return;
    }
    json_t *response = json_pack("{s:s,s:o}", "description", "Success.", "content",
                                 answer_content(row, form));
    if ((row->kinds & ANSWER_EMPTY) != 0)
        json_object_set_new(response, "x-broadway-may-be-empty", json_true());
    json_object_set_new(responses, "200", response);
    if ((row->kinds & ANSWER_UNCHANGED) != 0)
        json_object_set_new(
            responses, "304",
            json_pack("{s:s}", "description", "It is unchanged: If-None-Match is its ETag."));
}

json_t *responses_of(const struct route *route, const struct operation *row, enum protocol protocol)
{
    unsigned form = protocol;
    char status[STATUS_SIZE];
    json_t *responses = json_object();
    add_success(responses, row, form);
    for (const struct refusal *refusal = refusals; refusal->status != 0; refusal++) {
        if (!refusal_applies(refusal, route, row, form))
            continue;
        snprintf(status, sizeof status, "%d", refusal->status);
        json_object_set_new(responses, status, refusal_reference(form_name(form), refusal->status));
    }
    return responses;
}

/* ---- Two protocols with one operation ---- */

static json_t *schema_at(const json_t *response)
{
    return json_object_get(json_object_get(json_object_get(response, "content"), media_json),
                           "schema");
}

/* A success of either protocol, both JSON. */
static json_t *success_of_both(const json_t *one, const json_t *other)
{
    json_t *schema = json_pack("{s:[O,O]}", "anyOf", schema_at(one), schema_at(other));
    return json_pack("{s:s,s:o}", "description", "Success.", "content", json_content(schema));
}

void responses_add_refusal(json_t *responses, int status)
{
    char key[STATUS_SIZE];
    snprintf(key, sizeof key, "%d", status);
    json_object_set_new(responses, key, refusal_reference(form_name(FORM_EITHER), status));
}

void responses_merge_refusals(json_t *responses, const json_t *others)
{
    const char *status;
    json_t *other;
    json_object_foreach ((json_t *)others, status, other) {
        int number = (int)strtol(status, NULL, 10);
        if (number < FIRST_REFUSAL)
            continue;
        const json_t *one = json_object_get(responses, status);
        if (one == NULL)
            json_object_set(responses, status, other);
        else if (!json_equal(one, other))
            responses_add_refusal(responses, number);
    }
}

void responses_merge(json_t *responses, const json_t *others)
{
    static const char success[] = "200";
    responses_merge_refusals(responses, others);
    json_object_set_new(
        responses, success,
        success_of_both(json_object_get(responses, success), json_object_get(others, success)));
}
