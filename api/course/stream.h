/*
 * course_stream: GET stream/{course}/{job} and stream/{course}/run/{run}: who may follow what, and
 * what is to be said of what is over already. Called by dispatch alone, see api/http/route.h; they
 * wait for the database: ROUTE_BLOCKING.
 */
#ifndef API_COURSE_STREAM_H
#define API_COURSE_STREAM_H

#include "api/http/route.h"

enum bw_code course_stream_job(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_stream_run(struct api *api, struct exchange *exchange, struct bw_error *error);

/* Opens api->streams. */
enum bw_code course_stream_open(struct api *api, struct bw_error *error) BW_CHECKED;

#endif
