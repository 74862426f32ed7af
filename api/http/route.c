#include "api/http/route.h"

#include <stdio.h>
#include <string.h>

#include "common/domain/job.h"

static const char placeholder[] = "{id}";

/* Is it the id of a run, and `behind` what follows it? In such places another protocol has names,
 * so that nothing else is taken for an id. */
static bool is_run_and(const char *text, const char *behind)
{
    size_t length = strspn(text, "0123456789abcdef");
    return length == RUN_ID_LENGTH && strcmp(text + length, behind) == 0;
}

/* Does `path` have the form of `pattern`? *id is what stands for its placeholder, "" if it has
 * none. */
static bool path_matches(const char *pattern, const char *path, const char **id)
{
    const char *open = strchr(pattern, placeholder[0]);
    if (open == NULL) {
        *id = "";
        return strcmp(pattern, path) == 0;
    }
    size_t length = (size_t)(open - pattern);
    const char *behind = open + sizeof placeholder - 1;
    if (strncmp(pattern, path, length) != 0 || path[length] == '\0')
        return false;
    if (behind[0] != '\0' ? !is_run_and(path + length, behind) : strchr(path + length, '/') != NULL)
        return false;
    *id = path + length;
    return true;
}

static bool has_head(const struct route *route)
{
    return strcmp(route->method, "GET") == 0 && (route->flags & ROUTE_UNSAFE) == 0;
}

bool route_takes(const struct route *route, const char *method)
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

void route_allow(const struct route *route, char allowed[ROUTE_ALLOWED_SIZE])
{
    route_allow_method(allowed, route->method);
    if (has_head(route))
        route_allow_method(allowed, "HEAD");
}

const struct route *route_find(const struct route *routes, const char *method, const char *path,
                               const char **path_id, char allowed[64])
{
    allowed[0] = '\0';
    for (; routes->method != NULL; routes++) {
        const char *id;
        if (!path_matches(routes->path, path, &id))
            continue;
        if (route_takes(routes, method)) {
            *path_id = id;
            return routes;
        }
        route_allow(routes, allowed);
    }
    return NULL;
}

size_t route_body_limit(const struct route *route, size_t most)
{
    size_t limit = most;
    if (route->body == BODY_NONE || (route->flags & ROUTE_BODY_SMALL) != 0)
        limit = ROUTE_SMALL_BYTES;
    else if ((route->flags & ROUTE_BODY_MEDIUM) != 0)
        limit = ROUTE_MEDIUM_BYTES;
    return limit < most ? limit : most;
}

size_t route_json_count(const struct route *route)
{
    if ((route->flags & (ROUTE_BODY_SMALL | ROUTE_BODY_MEDIUM)) != 0)
        return ROUTE_SMALL_COUNT;
    return (route->flags & ROUTE_LIFE) != 0 ? ROUTE_RESULT_COUNT : ROUTE_COUNT;
}
