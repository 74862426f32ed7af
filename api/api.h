/*
 * api: the context of a broadway-api process. main creates it and passes it along; it is never
 * global. Each member belongs to the module that its type names, and is as thread-safe as that
 * module's header says.
 */
#ifndef API_API_H
#define API_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/domain/job.h"
#include "common/domain/protocol_map.h"

struct api {
    const struct api_options *options; /* api/options.h: the flags, fixed at start */
    struct database *database;
    struct definition_store *definition_store;
    struct run_store *run_store;
    struct lease_store *lease_store;
    struct result_store *result_store;
    struct log_store *log_store;
    struct log_chunk_store *log_chunk_store;
    struct file_store *file_store;
    struct worker_store *worker_store;
    struct replica_store *replica_store;
    struct signal_store *signal_store;
    struct setting_store *setting_store;
    struct audit_store *audit_store;
    struct history_store *history_store;
    struct receipt_store *receipt_store;
    struct image_pin_store *image_pin_store;
    struct course_store *course_store;
    struct grading_config_store *grading_config_store;
    struct pause_store *pause_store;
    struct scheduling_store *scheduling_store;
    struct webhook_store *webhook_store;
    struct webhook_delivery_store *webhook_delivery_store;

    struct otlp *otlp;                 /* common/base/otlp.h: exports spans; NULL: off */
    struct auth_keys *auth;            /* api/auth/auth.h: token hashes, limits on wrong tokens */
    struct receipt_key *receipt_key;   /* api/auth/receipt_key.h: signs receipts */
    struct known_tokens *known_tokens; /* api/auth/known_tokens.h: tokens known to be valid */
    struct memory_budget *memory; /* api/http/memory_budget.h: memory of requests and messages */
    struct thread_pool
        *thread_pool; /* api/http/thread_pool.h: threads for tasks that may wait for the database */
    struct definition_cache *definitions;    /* api/grading/definition_cache.h */
    struct worker_cache *workers[PROTOCOLS]; /* api/grading/worker_cache.h: graders, by protocol */
    struct worker_lookup
        *worker_lookups[PROTOCOLS];   /* api/grading/worker_lookup.h: of ids not cached */
    struct course_table *courses;     /* api/auth/course_table.h: courses and their tokens */
    struct poll_table *polls;         /* api/grading/poll_table.h: parked polls */
    struct image_pins *image_pins;    /* api/grading/image_pins.h: what images stand for */
    struct delivery_table *hand_outs; /* api/grading/delivery_table.h: hand-outs of this replica */
    struct held_jobs *held_jobs;      /* api/grading/held_jobs.h: what became of graders' jobs */
    struct signals *signals;          /* api/uplink/signals.h: signals to the scheduler */
    struct queries *queries;          /* api/uplink/scheduler_queries.h: queries to the scheduler */
    struct missing_graders *graders;  /* api/grading/missing_graders.h */
    struct sockets *sockets;          /* api/websocket/server.h: graders' websockets */
    struct socket_jobs *socket_jobs;  /* api/grading/socket_jobs.h */
    struct event_streams *streams;    /* api/grading/event_streams.h */
    struct log_chunk_removal *log_removal; /* api/grading/log_chunk_removal.h */
    struct log_streams *log_streams;       /* api/grading/log_streams.h: clients that follow logs */
    struct answer_streams *answer_streams; /* api/http/answer_stream.h */
    struct socket_inflight *socket_inflight; /* api/grading/socket_inflight.h: operations that
                                                websockets have in flight */
    struct server *public_server;            /* api/http/server.h */
    struct server *internal_server;
    struct metrics *metrics; /* api/metrics.h */
    struct pages *pages;     /* api/openapi/pages.h */

    char replica_id[WORKER_ID_SIZE]; /* stable name of this replica: its internal URL */
    char process_id[33];             /* 32 random hex digits, fresh each start */
    atomic_bool is_serving;          /* the public port is open */
    atomic_bool is_draining;         /* SIGTERM was received: not ready, no poll is parked */
    atomic_int urgent_renewals;      /* api/grading/registration.c */
    atomic_size_t inflight;          /* api/grading/inflight.h */
    _Atomic int64_t highest_term;    /* callbacks of a lower term are refused */
};

#endif
