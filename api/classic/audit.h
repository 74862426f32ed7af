/*
 * classic/audit: the operator's endpoint of the audit. Waits for the database (ROUTE_BLOCKING).
 * Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_AUDIT_H
#define API_CLASSIC_AUDIT_H

#include "api/http/route.h"

/* GET /api/v1/audit → {"entries", "next"} */
enum bw_code classic_audit_list(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
