#include "api/internal/protocol.h"

#include "api/api.h"
#include "api/auth/auth.h"
#include "api/http/exchange_internal.h"

static enum bw_code internal_admit(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    if (exchange->request.route->auth != AUTH_INTERNAL)
        return BW_OK;
    exchange->sender = (struct sender){.pool = MEMORY_WORKER, .kind = CONNECTION_WORKER};
    return auth_internal(api->auth, exchange, error);
}

const struct wire_protocol internal_protocol = {.routes = internal_routes, .admit = internal_admit};
