/*
 * api: the context of a broadway-api process: made in main, passed along, never global. Every
 * member belongs to the module that its type names and is safe as that module's header says.
 */
#ifndef API_API_H
#define API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/domain/job.h"

struct api {
    const struct api_options *options; /* api/options.h: the flags, fixed at start */
    struct database *database;
    struct definition_store *definition_store;
    struct run_store *run_store;
    struct lease_store *lease_store;
    struct result_store *result_store;
    struct log_store *log_store;
    struct worker_store *worker_store;
    struct replica_store *replica_store;
    struct signal_store *signal_store;
    struct setting_store *setting_store;
    struct course_store *course_store;
    struct grading_config_store *grading_config_store;

    struct auth_keys *auth;            /* api/auth/auth.h: token hashes, failure limits */
    struct known_tokens *known_tokens; /* api/auth/known_tokens.h: seen to be good */
    struct memory_budget *memory; /* api/http/memory_budget.h: what requests and messages hold */
    struct thread_pool
        *thread_pool; /* api/http/thread_pool.h: threads for what may wait for the database */
    struct definition_cache *definitions; /* api/grading/definition_cache.h */
    struct worker_cache *workers;         /* api/grading/worker_cache.h: of the classic protocol */
    struct worker_cache *course_workers;  /* the same of the course protocol */
    struct worker_lookup *worker_lookup;  /* api/grading/worker_lookup.h: ids that are not there */
    struct course_table *courses;         /* api/auth/course_table.h: courses and their tokens */
    struct poll_table *polls;             /* api/grading/poll_table.h: parked polls */
    struct delivery_table
        *hand_outs;                  /* api/grading/delivery_table.h: what this replica delivered */
    struct signals *signals;         /* api/uplink/signals.h: what the scheduler is told */
    struct queries *queries;         /* api/uplink/scheduler_queries.h: what it is asked */
    struct grader_presence *graders; /* api/grading/grader_presence.h: whether any is alive */
    struct sockets *sockets;       /* api/websocket/server.h: of graders (api/course/websocket.h) */
    struct event_streams *streams; /* api/grading/event_streams.h */
    struct answer_streams *answer_streams; /* api/http/answer_stream.h */
    struct under_way *under_way;           /* api/grading/under_way.h: what these have begun */
    struct server *public_server;          /* api/http/server.h */
    struct server *internal_server;
    struct metrics *metrics; /* api/metrics.h */

    char replica_id[WORKER_ID_SIZE]; /* stable name of this replica: its internal URL */
    char process_id[33];             /* 32 random hex digits, fresh each start */
    atomic_bool is_serving;          /* the public port is open */
    atomic_bool is_draining;         /* SIGTERM has come: not ready, no poll parks */
    atomic_int urgent_renewals;      /* api/grading/registration.c */
    atomic_size_t inflight;          /* api/grading/inflight.h */
    _Atomic int64_t highest_term;    /* callbacks of a lower term are refused */
};

#endif
