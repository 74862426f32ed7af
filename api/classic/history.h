/*
 * classic/history: the operator's endpoint of the history. Waits for the database (ROUTE_BLOCKING).
 * Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_HISTORY_H
#define API_CLASSIC_HISTORY_H

#include "api/http/route.h"

/* GET /api/v1/history → {"from", "to", "step", "points"} */
enum bw_code classic_history(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
