#include "api/http/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/domain/job.h"

/* ---- Paths ---- */

static const char id_braces[] = "{id}";

struct part {
    size_t start, length;
};

static size_t part_run_id(const char *text)
{
    return strspn(text, "0123456789abcdef") == RUN_ID_LENGTH ? RUN_ID_LENGTH : 0;
}

static size_t part_name(const char *text)
{
    static const char letters[] =
        "-_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t length = strspn(text, letters);
    return length < WORKER_ID_SIZE ? length : 0;
}

static bool is_id_part(const char *braces)
{
    return strncmp(braces, id_braces, sizeof id_braces - 1) == 0;
}

/* The length of the part at the beginning of `text` that matches these braces; 0: none does. */
static size_t part_length(const char *braces, const char *text)
{
    if (!is_id_part(braces))
        return part_name(text);
    bool is_last = braces[sizeof id_braces - 1] == '\0';
    return is_last ? strcspn(text, "/") : part_run_id(text);
}

/* Compares the path with the pattern, and records the parts. False: they differ. */
static bool path_walk(const char *pattern, const char *path, struct part parts[PATH_PARTS],
                      size_t *count)
{
    const char *at = path;
    for (*count = 0; *pattern != '\0'; pattern++) {
        if (*pattern != '{') {
            if (*at++ != *pattern)
                return false;
            continue;
        }
        size_t length = part_length(pattern, at);
        if (length == 0 || *count == PATH_PARTS)
            return false;
        parts[(*count)++] = (struct part){(size_t)(at - path), length};
        at += length;
        pattern = strchr(pattern, '}');
    }
    return *at == '\0';
}

bool path_match(const char *pattern, const char *path, struct path_match *match)
{
    struct part parts[PATH_PARTS];
    const char *braces = pattern;
    size_t count;
    if (!path_walk(pattern, path, parts, &count))
        return false;
    *match = (struct path_match){.copy = bw_copy(path), .id = ""};
    for (size_t i = 0; i < PATH_PARTS; i++) {
        match->parts[i] = "";
        if (i >= count)
            continue;
        char *part = match->copy + parts[i].start;
        part[parts[i].length] = '\0';
        match->parts[i] = part;
        braces = strchr(braces, '{');
        if (is_id_part(braces++))
            match->id = part;
    }
    return true;
}

/* ---- Routes ---- */

static bool has_head(const struct route *route)
{
    return strcmp(route->method, "GET") == 0 && (route->flags & ROUTE_UNSAFE) == 0;
}

static bool route_takes(const struct route *route, const char *method)
{
    return strcmp(route->method, method) == 0 || (has_head(route) && strcmp(method, "HEAD") == 0);
}

static void route_allow_method(char allowed[ROUTE_ALLOWED_SIZE], const char *method)
{
    size_t length = strlen(allowed);
    if (strstr(allowed, method) == NULL)
        snprintf(allowed + length, ROUTE_ALLOWED_SIZE - length, "%s%s", length > 0 ? ", " : "",
                 method);
}

static void route_allow(const struct route *route, char allowed[ROUTE_ALLOWED_SIZE])
{
    route_allow_method(allowed, route->method);
    if (has_head(route))
        route_allow_method(allowed, "HEAD");
}

void route_allow_all(const char *methods, char allowed[ROUTE_ALLOWED_SIZE])
{
    char method[ROUTE_ALLOWED_SIZE];
    while (*methods != '\0') {
        size_t length = strcspn(methods, ",");
        snprintf(method, sizeof method, "%.*s", (int)length, methods);
        route_allow_method(allowed, method);
        methods += length + strspn(methods + length, ", ");
    }
}

const struct route *route_find(const struct route *routes, const char *method, const char *path,
                               bool (*disowns)(const char *const parts[PATH_PARTS]),
                               struct path_match *match, char allowed[ROUTE_ALLOWED_SIZE])
{
    for (; routes->method != NULL; routes++) {
        if (!path_match(routes->path, path, match))
            continue;
        bool is_theirs = disowns == NULL || !disowns(match->parts);
        if (is_theirs && route_takes(routes, method))
            return routes;
        free(match->copy);
        if (is_theirs)
            route_allow(routes, allowed);
    }
    return NULL;
}

size_t route_body_limit(const struct route *route, size_t most)
{
    size_t limit = most;
    if (route->body == BODY_NONE || route->body == BODY_UNREAD ||
        (route->flags & ROUTE_BODY_SMALL) != 0)
        limit = ROUTE_SMALL_BYTES;
    else if ((route->flags & ROUTE_BODY_MEDIUM) != 0)
        limit = ROUTE_MEDIUM_BYTES;
    else if (route->body == BODY_BYTES)
        limit = ROUTE_BYTES_MAX;
    return limit < most ? limit : most;
}

size_t route_json_count(const struct route *route)
{
    if ((route->flags & (ROUTE_BODY_SMALL | ROUTE_BODY_MEDIUM)) != 0)
        return ROUTE_SMALL_COUNT;
    return (route->flags & ROUTE_HEARTBEAT) != 0 ? ROUTE_RESULT_COUNT : ROUTE_COUNT;
}
