#include "api/route.h"

#include <stdio.h>
#include <string.h>

static const char placeholder[] = "{id}";

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
    if (strncmp(pattern, path, length) != 0 || path[length] == '\0' ||
        strchr(path + length, '/') != NULL)
        return false;
    *id = path + length;
    return true;
}

static void allow(char allowed[ROUTE_ALLOWED_SIZE], const char *method)
{
    size_t length = strlen(allowed);
    snprintf(allowed + length, ROUTE_ALLOWED_SIZE - length, "%s%s", length > 0 ? ", " : "", method);
}

const struct route *route_find(const struct route *routes, const char *method, const char *path,
                               const char **path_id, char allowed[64])
{
    allowed[0] = '\0';
    for (; routes->method != NULL; routes++) {
        const char *id;
        if (!path_matches(routes->path, path, &id))
            continue;
        if (strcmp(routes->method, method) == 0) {
            *path_id = id;
            return routes;
        }
        allow(allowed, routes->method);
    }
    return NULL;
}
