/*
 * course_socket: graders with a websocket: GET worker_ws/{worker}. A grader registers, is pushed
 * one job at a time, and sends results, which nobody acknowledges: what is not stored is
 * redelivered or queued again. It waits for work like a poll does, in the same queue. A ping or a
 * pong is its heartbeat; the end of its socket loses it at once.
 *
 * What messages mean is decided on the sockets' thread; what needs the database or the scheduler is
 * asked for, and its answer posted back, by the socket's number. Callers: main, the HTTP server
 * (course_socket_judge), the scheduler's callbacks (course_socket_push), dispatch
 * (course_socket_settle).
 */
#ifndef API_COURSE_WEBSOCKET_H
#define API_COURSE_WEBSOCKET_H

#include <stdint.h>

#include "api/http/exchange.h"
#include "common/base/error.h"

struct api;
struct sockets;

/* Opens api->sockets for such graders. */
enum bw_code course_socket_open(struct api *api, struct bw_error *error) BW_CHECKED;

/* May this request's sender come in? *refusal: NULL, or why not, new, for the frame that closes
 * the websocket; for too many wrong tokens the answer's Retry-After is set as well.
 * BW_UNAVAILABLE: nobody can say yet; BW_INTERNAL: memory is short; then there is no upgrade. */
enum bw_code course_socket_judge(struct api *api, struct exchange *exchange, char **refusal,
                                 struct bw_error *error) BW_CHECKED;

/* Sends a job to the grader whose poll was taken. `payload` is stolen. If the socket has ended
 * meanwhile, so has the worker: the job is lost with it. */
void course_socket_push(struct api *api, uint64_t socket, const char *job, char *payload);

/* Lets what has reached the sockets be read, and waits until what that led to is on record, two
 * seconds at most. Waits: not for the server's threads. */
void course_socket_settle(struct api *api);

#endif
