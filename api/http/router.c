#include "api/http/router.h"

#include <stdlib.h>
#include <string.h>

/* The result of the search so far. */
struct choice {
    const struct wire_protocol *protocol; /* the route's protocol; NULL: none yet */
    const struct wire_protocol *twin;
    const struct route *route;
    struct path_match match;
    const struct wire_protocol *with_path; /* the last one that has the path, but not the method */
    unsigned with_paths;  /* number of protocols that have the path, but not the method */
    bool is_for_browsers; /* one of these has is_for_browsers */
};

/* Takes a route that was found. If an earlier protocol has the path, too, the later one gets it
 * only if it claims the request. */
static void choice_take(struct choice *choice, const struct wire_protocol *protocol,
                        const struct route *route, struct path_match *match,
                        const struct exchange *exchange)
{
    bool is_claimed = choice->protocol == NULL ||
                      (protocol->claims != NULL &&
                       protocol->claims(exchange->host->api, exchange, match->parts));
    if (!is_claimed) {
        choice->twin = protocol;
        free(match->copy);
        return;
    }
    if (choice->protocol != NULL)
        free(choice->match.copy);
    choice->twin = NULL;
    choice->protocol = protocol;
    choice->route = route;
    choice->match = *match;
}

static void choice_ask(struct choice *choice, const struct wire_protocol *protocol,
                       const struct exchange *exchange, const char *path,
                       char allowed[ROUTE_ALLOWED_SIZE])
{
    struct path_match match;
    char own[ROUTE_ALLOWED_SIZE] = "";
    const struct route *route = route_find(protocol->routes, exchange->request.method, path,
                                           protocol->disowns, &match, own);
    if (route != NULL) {
        choice_take(choice, protocol, route, &match, exchange);
        return;
    }
    if (own[0] == '\0')
        return;
    choice->with_path = protocol;
    choice->with_paths++;
    choice->is_for_browsers = choice->is_for_browsers || protocol->is_for_browsers;
    route_allow_all(own, allowed);
}

/* No route was found: the reason, and the protocol of the refusal. */
static enum bw_code choice_refuse(const struct choice *choice, struct request *request,
                                  char allowed[ROUTE_ALLOWED_SIZE])
{
    request->protocol = choice->with_paths == 1 ? choice->with_path : NULL;
    if (choice->with_paths == 0)
        return BW_NOT_FOUND;
    if (!choice->is_for_browsers)
        return BW_METHOD_NOT_ALLOWED;
    route_allow_all("OPTIONS", allowed);
    return strcmp(request->method, "OPTIONS") == 0 ? BW_NO_CONTENT : BW_METHOD_NOT_ALLOWED;
}

static void choice_enter(const struct choice *choice, struct exchange *exchange)
{
    struct request *request = &exchange->request;
    request->protocol = choice->protocol;
    request->twin = choice->twin;
    request->route = choice->route;
    request->path_id = choice->match.id;
    memcpy(request->parts, choice->match.parts, sizeof request->parts);
    exchange->path = choice->match.copy;
}

enum bw_code router_choose(struct exchange *exchange, const char *path,
                           char allowed[ROUTE_ALLOWED_SIZE])
{
    struct choice choice = {.protocol = NULL};
    enum bw_code code = BW_OK;
    allowed[0] = '\0';
    for (const struct wire_protocol *const *protocol = exchange->host->protocols; *protocol != NULL;
         protocol++)
        choice_ask(&choice, *protocol, exchange, path, allowed);
    if (choice.route != NULL)
        choice_enter(&choice, exchange);
    else
        code = choice_refuse(&choice, &exchange->request, allowed);
    router_allow_origin(exchange);
    return code;
}

void router_allow_origin(struct exchange *exchange)
{
    const struct wire_protocol *protocol = exchange->request.protocol;
    bool is_for_browsers = protocol == NULL || protocol->is_for_browsers;
    exchange->answer.cors = is_for_browsers ? exchange->host->cors_origin : NULL;
}
