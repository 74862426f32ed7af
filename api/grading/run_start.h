/*
 * run_start: starts a grading run that was just created (run_creation.h), for requests that create
 * and start in one. Safe from any thread; no function waits.
 */
#ifndef API_GRADING_RUN_START_H
#define API_GRADING_RUN_START_H

#include "common/store/run_store.h"

struct api;
struct exchange;

/* Answers the exchange: the run is started. From a thread that may wait for the database. */
typedef void run_started(struct exchange *exchange, const char *run_id);

/* Starts `run` (borrowed), and links a rerun to its earlier run before. Then calls `started`, or
 * refuses the exchange. If an earlier try of the same request has started the run, that is a
 * success. */
void run_start(struct api *api, struct exchange *exchange, const struct run *run,
               run_started *started);

#endif
