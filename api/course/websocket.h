/*
 * course_websocket: graders with a websocket: GET worker_ws/{worker}. A grader registers, receives
 * one job at a time, and sends results, which are not acknowledged: if one is not stored, its job
 * is redelivered or queued again. A waiting grader is an entry of poll_table, like a poll. A ping
 * or a pong is its heartbeat. When its socket ends, the grader counts as lost at once.
 *
 * Messages are handled on the sockets' thread. Work that needs the database or the scheduler runs
 * elsewhere, and its outcome is posted back by the socket's number. Callers, through the table of
 * protocols: service (open), the HTTP server (upgrade, take), hand_outs (push), dispatch (drain).
 */
#ifndef API_COURSE_WEBSOCKET_H
#define API_COURSE_WEBSOCKET_H

#include <stdint.h>

#include "api/http/exchange.h"
#include "api/http/memory_budget.h"
#include "api/http/wire_protocol.h"
#include "common/base/error.h"

struct api;
struct sockets;

/* Opens api->sockets for these graders. BW_INTERNAL: no thread. On main's thread. */
enum bw_code course_socket_open(struct api *api, struct bw_error *error) BW_CHECKED;

/* Checks the handshake and the token. BW_OK: the connection becomes a websocket. An unauthorized
 * sender is refused after the upgrade, by a close frame, since these clients understand nothing
 * else. BW_BAD_REQUEST, BW_UPGRADE_REQUIRED, BW_UNAVAILABLE: no upgrade. */
enum bw_code course_socket_upgrade(struct api *api, struct exchange *exchange,
                                   const char *http_version, char accept[UPGRADE_ACCEPT_SIZE],
                                   struct bw_error *error) BW_CHECKED;

/* Takes the upgraded connection. */
void course_socket_take(struct api *api, struct exchange *exchange,
                        const struct upgraded *upgraded);

/* Sends a job to the grader whose poll was taken from poll_table. `payload` is stolen. `hold`,
 * which counts it, is taken, and released when the websocket has queued the text. If the socket has
 * ended in the meantime, the worker counts as lost, and the job with it. Does not wait. */
void course_socket_push(struct api *api, uint64_t socket, const char *job, char *payload,
                        struct memory_hold *hold);

/* The scheduler says that the worker may hold the job no longer. If its socket is open here, it
 * asked to be told, and the job is lost, it is sent a message. Does not wait. */
void course_socket_check_job(struct api *api, const char *worker, const char *job);

/* Waits until the data that has reached the sockets is read, and the operations that follow from it
 * are stored; two seconds at most. Not for the server's threads. */
void course_socket_drain(struct api *api);

#endif
