/*
 * stream_request: the requests for a stream of events, GET stream/{course}/{job} and
 * stream/{course}/run/{run}: who may follow what, and the last state of what is over already. The
 * events themselves are made in api/grading/event_streams.h. Called by dispatch alone, see
 * api/http/route.h; they wait for the database: ROUTE_BLOCKING.
 */
#ifndef API_COURSE_STREAM_REQUEST_H
#define API_COURSE_STREAM_REQUEST_H

#include "api/http/route.h"

enum bw_code course_stream_job(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_stream_run(struct api *api, struct exchange *exchange, struct bw_error *error);

/* Opens api->streams. */
enum bw_code course_stream_open(struct api *api, struct bw_error *error) BW_CHECKED;

#endif
