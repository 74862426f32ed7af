/*
 * course/scheduling: the endpoint that shows a course its share. Waits for the database. Called by
 * dispatch alone, see api/http/route.h: the token has been checked.
 */
#ifndef API_COURSE_SCHEDULING_H
#define API_COURSE_SCHEDULING_H

#include "api/http/route.h"

/* GET /api/v1/scheduling/{course} → the share */
enum bw_code course_scheduling_show(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);

#endif
