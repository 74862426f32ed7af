#include <stddef.h>

#include "api/internal/protocol.h"
#include "api/internal/callback_handler.h"
#include "api/internal/health.h"

const struct route internal_routes[] = {
    {"POST", "/internal/v1/callbacks", AUTH_INTERNAL, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_URGENT | ROUTE_QUIET, callback_fields, callback_handle},
    {"GET", "/healthz", AUTH_NONE, BODY_NONE, ROUTE_QUIET, NULL, health_show_alive},
    {"GET", "/readyz", AUTH_NONE, BODY_NONE, ROUTE_QUIET, NULL, health_show_ready},
    {"GET", "/metrics", AUTH_NONE, BODY_NONE, ROUTE_QUIET, NULL, health_show_metrics},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};
