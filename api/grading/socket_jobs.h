/*
 * socket_jobs: the jobs that graders with a websocket hold at this replica, as far as these graders
 * asked to be told of lost ones (`cancel`): by the job's id the number of the socket. From any
 * thread; never waits.
 */
#ifndef API_GRADING_SOCKET_JOBS_H
#define API_GRADING_SOCKET_JOBS_H

#include <stdbool.h>
#include <stdint.h>

struct socket_jobs;

/* Returns a new table, never NULL. The second frees it; NULL is allowed. */
struct socket_jobs *socket_jobs_new(void);
void socket_jobs_free(struct socket_jobs *table);

/* The socket, whose grader is `worker`, has been sent the job. A former entry is replaced. */
void socket_jobs_add(struct socket_jobs *table, const char *job, const char *worker,
                     uint64_t socket);

/* The socket's grader does not have the job any more, or has been told so. */
void socket_jobs_remove(struct socket_jobs *table, const char *job, uint64_t socket);

/* The number of the socket at which this worker has the job; 0: none. */
uint64_t socket_jobs_find(struct socket_jobs *table, const char *job, const char *worker);

#endif
