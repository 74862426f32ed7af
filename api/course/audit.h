/*
 * course/audit: the audit of one course. Waits for the database (ROUTE_BLOCKING). Called by
 * dispatch alone, see api/http/route.h.
 */
#ifndef API_COURSE_AUDIT_H
#define API_COURSE_AUDIT_H

#include "api/http/route.h"

/* GET audit/{course} → {"entries", "next"} */
enum bw_code course_audit_list(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
