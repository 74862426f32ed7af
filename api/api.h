/*
 * api: the context of a broadway-api process: made in main, passed along, never global. Every
 * member belongs to the module that its type names and is safe as that module's header says.
 */
#ifndef API_API_H
#define API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/job.h"

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

    struct auth_keys *auth;            /* api/auth.h: token hashes, failure limits */
    struct known_tokens *known_tokens; /* api/known_tokens.h: seen to be good */
    struct memory_budget *memory;      /* api/memory_budget.h: what requests and messages hold */
    struct executor *executor; /* api/executor.h: threads for what may wait for the database */
    struct definition_cache *definitions;  /* api/definition_cache.h */
    struct worker_cache *workers;          /* api/worker_cache.h: of the seed protocol */
    struct worker_cache *course_workers;   /* the same of the course protocol */
    struct course_table *courses;          /* api/course_table.h: courses and their tokens */
    struct poll_table *polls;              /* api/poll_table.h: parked polls */
    struct hand_out_table *hand_outs;      /* api/hand_out_table.h: what this replica delivered */
    struct signals *signals;               /* api/signals.h: what the scheduler is told */
    struct questions *questions;           /* api/questions.h: what it is asked */
    struct grader_presence *graders;       /* api/grader_presence.h: whether any is alive */
    struct sockets *sockets;               /* api/sockets.h: of graders (api/course_socket.h) */
    struct event_streams *streams;         /* api/event_streams.h */
    struct answer_streams *answer_streams; /* api/answer_stream.h */
    struct under_way *under_way;           /* api/under_way.h: what these have begun */
    struct front *public_front;            /* api/front.h */
    struct front *internal_front;
    struct metrics *metrics; /* api/api_metrics.h */

    char replica_id[WORKER_ID_SIZE]; /* stable name of this replica: its internal URL */
    char process_id[33];             /* 32 random hex digits, fresh each start */
    atomic_bool is_serving;          /* the public port is open */
    atomic_bool is_draining;         /* SIGTERM has come: not ready, no poll parks */
    atomic_size_t inflight;          /* api/inflight.h */
    _Atomic int64_t highest_term;    /* callbacks of a lower term are refused */
};

#endif
