/*
 * course/history: a course's own history, for its staff. Waits for the database (ROUTE_BLOCKING).
 * Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_COURSE_HISTORY_H
#define API_COURSE_HISTORY_H

#include "api/http/route.h"

/* GET history/{course} → {"from", "to", "step", "points"} */
enum bw_code course_history(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
