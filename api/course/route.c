#include "api/course/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/auth/course_table.h"
#include "api/options.h"
#include "api/grading/worker_cache.h"
#include "common/base/alloc.h"
#include "common/db/database.h"
#include "common/domain/run_definition.h"
#include "common/base/json.h"
#include "common/base/json_mend.h"

enum { NAME_MAX_LENGTH = WORKER_ID_SIZE - 1 };

/* ---- Paths ---- */

static size_t name_length(const char *text)
{
    return strspn(text, "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

/* Walks along pattern and path; cuts the names out of `copy`, which is the path's, if it matches.
 */
static bool match(const char *pattern, char *copy, const char **parts)
{
    char *ends[PATH_PARTS], *at = copy;
    size_t count = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '{') {
            if (*at++ != *pattern)
                return false;
            continue;
        }
        size_t length = name_length(at);
        if (length == 0 || length > NAME_MAX_LENGTH || count == PATH_PARTS)
            return false;
        parts[count] = at;
        at += length;
        ends[count++] = at;
        pattern = strchr(pattern, '}');
    }
    if (*at != '\0')
        return false;
    for (size_t i = 0; i < count; i++)
        *ends[i] = '\0';
    return true;
}

static void course_route_allow(char allowed[ROUTE_ALLOWED_SIZE], const char *method)
{
    size_t length = strlen(allowed);
    if (strstr(allowed, method) == NULL)
        snprintf(allowed + length, ROUTE_ALLOWED_SIZE - length, "%s%s", length > 0 ? ", " : "",
                 method);
}

/* Of such paths the classic protocol has the first part for the ids of its runs; no course is named
 * so.
 */
static bool is_seeds_own(const char *const *parts)
{
    static const char *const verbs[] = {"cancel", "results", "rerun"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (is_hex_id(parts[0], RUN_ID_LENGTH) && strcmp(parts[1], verbs[i]) == 0)
            return true;
    return false;
}

const struct route *course_route_find(const struct route *routes, const char *method,
                                      const char *path, char allowed[ROUTE_ALLOWED_SIZE],
                                      char **copy, const char **parts)
{
    for (; routes != NULL && routes->method != NULL; routes++) {
        char *own = bw_copy(path);
        bool is_match = match(routes->path, own, parts) && !is_seeds_own(parts);
        if (is_match && route_takes(routes, method)) {
            *copy = own;
            return routes;
        }
        free(own);
        if (is_match)
            route_allow(routes, allowed);
    }
    return NULL;
}

/* The methods of both protocols, and OPTIONS, which every path of the course protocol takes. */
static void allow_all(char allowed[ROUTE_ALLOWED_SIZE], const char *of_course)
{
    static const char *const methods[] = {"GET", "HEAD", "POST"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strstr(of_course, methods[i]) != NULL)
            course_route_allow(allowed, methods[i]);
    course_route_allow(allowed, "OPTIONS");
}

/* No route: why, and in whose form. */
static enum bw_code choose_refusal(struct request *request, char allowed[ROUTE_ALLOWED_SIZE],
                                   const char *of_course)
{
    bool is_classic = allowed[0] != '\0', is_course = of_course[0] != '\0';
    request->form = is_classic == is_course ? FORM_BOTH : is_course ? FORM_COURSE : FORM_CLASSIC;
    if (!is_classic && !is_course)
        return BW_NOT_FOUND;
    if (!is_course)
        return BW_METHOD_NOT_ALLOWED;
    allow_all(allowed, of_course);
    return strcmp(request->method, "OPTIONS") == 0 ? BW_NO_CONTENT : BW_METHOD_NOT_ALLOWED;
}

enum bw_code course_route_choose(const struct http_server_settings *settings,
                                 struct exchange *exchange, const char *path,
                                 char allowed[ROUTE_ALLOWED_SIZE])
{
    struct request *request = &exchange->request;
    const char *parts[PATH_PARTS] = {"", ""};
    char of_course[ROUTE_ALLOWED_SIZE] = "";
    const struct route *classic = route_find(settings->routes, request->method, path,
                                             &request->path_id, allowed);
    const struct route *course = course_route_find(settings->course_routes, request->method, path,
                                                   of_course, &exchange->path, parts);
    request->has_twin = classic != NULL && course != NULL &&
                        exchange_header(exchange, "Authorization") == NULL;
    enum bw_code code = BW_OK;
    if (course != NULL && !request->has_twin) {
        request->route = course;
        request->form = FORM_COURSE;
        request->path_id = "";
        memcpy(request->parts, parts, sizeof parts);
    } else if (classic != NULL) {
        request->route = classic;
    } else {
        code = choose_refusal(request, allowed, of_course);
    }
    exchange->answer.cors = request->form != FORM_CLASSIC ? settings->cors_origin : NULL;
    return code;
}

/* ---- Who asks ---- */

/* A member where an admin is needed: the token is good, but not for this. */
static enum bw_code judge_course_token(struct api *api, const struct exchange *exchange,
                                       const char *token, struct bw_error *error)
{
    const struct request *request = &exchange->request;
    enum course_standing standing = course_table_judge(api->courses, request->parts[0], token);
    if (standing == COURSE_UNSETTLED)
        return bw_fail(error, BW_UNAVAILABLE,
                       "this server is starting: it has yet to read the courses");
    if (standing == COURSE_UNKNOWN)
        return auth_refuse_token(api->auth, exchange, token, "course not found", error);
    if (standing == COURSE_STRANGER)
        return auth_refuse_token(api->auth, exchange, token, "invalid token", error);
    auth_accept_token(api->auth, token);
    if (standing == COURSE_MEMBER && request->route->auth == AUTH_COURSE_ADMIN)
        return bw_fail(error, BW_UNAUTHORIZED, "invalid token");
    return BW_OK;
}

enum bw_code course_route_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct route *route = exchange->request.route;
    const char *token;
    if (route->auth == AUTH_COURSE_SOCKET)
        return BW_OK; /* judged where the websocket is opened */
    enum bw_code code = auth_course_token(exchange, &token, error);
    if (code != BW_OK)
        return code;
    if (route->auth >= AUTH_COURSE_CLUSTER)
        return auth_course_cluster(api->auth, exchange, token, error);
    code = auth_admit_token(api->auth, exchange, token, error);
    return code == BW_OK ? judge_course_token(api, exchange, token, error) : code;
}

static enum bw_code refuse_worker(struct bw_error *error)
{
    return bw_fail(error, BW_UNAUTHORIZED, "worker not found");
}

enum bw_code course_route_know_worker(struct api *api, const struct exchange *exchange,
                                      struct bw_error *error)
{
    (void)error;
    if (exchange->request.route->auth != AUTH_COURSE_WORKER)
        return BW_OK;
    if (database_is_away(api->database)) /* nobody can say: then it is believed */
        return BW_OK;
    return worker_cache_has(api->course_workers, exchange->request.parts[0]) ? BW_OK : BW_PENDING;
}

enum bw_code course_route_find_worker(struct api *api, const struct exchange *exchange,
                                      struct bw_error *error)
{
    enum bw_code code = worker_cache_check(api->course_workers, exchange->request.parts[0], error);
    return code == BW_OK || code == BW_UNAVAILABLE ? BW_OK : refuse_worker(error);
}

/* ---- What it brings ---- */

enum bw_code course_route_judge_body(struct exchange *exchange, struct bw_error *error)
{
    static const char key[] = "grading_job_id";
    struct request *request = &exchange->request;
    struct bw_error unused;
    json_auto_t *body = NULL;
    if (!request->has_twin ||
        memmem(request->body, request->body_length, key, sizeof key - 1) == NULL)
        return BW_OK;
    const struct json_limits limits = exchange_json_limits(exchange);
    if (json_parse_within(request->body, request->body_length, "the body", &limits, &body,
                          &unused) != BW_OK ||
        json_object_get(body, key) == NULL)
        return BW_OK;
    request->form = FORM_COURSE;
    exchange->answer.cors = exchange->host->cors_origin;
    return bw_fail(error, BW_UNAUTHORIZED, "invalid token format");
}

/* Only what belongs to a result is mended. */
static enum bw_code course_route_parse_body(struct exchange *exchange, json_t **body,
                                            struct bw_error *error)
{
    static const struct json_mend_limits mending = {.envelope = 1,
                                                    .max_values = JSON_MEND_MAX_VALUES};
    const struct request *request = &exchange->request;
    const struct json_limits limits = exchange_json_limits(exchange);
    if (request->mended == NULL)
        return json_parse_within(request->body, request->body_length, "the body", &limits, body,
                                 error);
    return json_parse_mended(request->body, request->body_length, "the body", &mending, &limits,
                             body, request->mended, error);
}

enum bw_code course_route_read(struct exchange *exchange, struct bw_error *error)
{
    struct request *request = &exchange->request;
    if (request->route->body != BODY_JSON)
        return BW_OK;
    const struct definition_limits limits = {
        .allow_privileged = exchange->host->api->options->allow_privileged};
    json_t *body = NULL;
    enum bw_code code = course_route_parse_body(exchange, &body, error);
    if (code == BW_OK)
        code = json_check(body, request->route->fields, "", &limits, error);
    if (code != BW_OK) {
        json_decref(body);
        return code == BW_BAD_REQUEST ? BW_BAD_BODY : code;
    }
    request->arguments = body;
    return BW_OK;
}
