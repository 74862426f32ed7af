/*
 * request_id: the id of a request, by which it is found in the logs: the client's X-Request-Id if
 * it is valid, otherwise PROCESS-NUMBER: the first digits of the process's id, which is logged at
 * startup, and a unique number. The id is in the answer, the log line, and the body of an error.
 * Callers: the API's HTTP server, exchange and access_log; the scheduler's status_server. Safe from
 * any thread, except request_id_open.
 */
#ifndef COMMON_BASE_REQUEST_ID_H
#define COMMON_BASE_REQUEST_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { REQUEST_ID_SIZE = 129 };

#define REQUEST_ID_HEADER "X-Request-Id"

/* Sets the process's id. Called once, before any other thread. */
void request_id_open(const char *process);

/* Whether it is 1 to 128 letters, digits, points, hyphens and underscores. False for NULL. */
bool request_id_is_sound(const char *text);

/* A number that no other request of this process has. */
uint64_t request_id_number(void);

/* Writes the generated id with that number. */
void request_id_make(uint64_t number, char id[REQUEST_ID_SIZE]);

#endif
