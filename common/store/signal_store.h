/*
 * signal_store: collection signals: the signals of replicas to the scheduler, one document per
 * batch, removed after a minute (TTL). A lost signal delays work by a few seconds: the next
 * heartbeat shows that one is missing. Safe from any thread.
 */
#ifndef COMMON_STORE_SIGNAL_STORE_H
#define COMMON_STORE_SIGNAL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"
#include "common/store/replica_store.h"

struct signal_store;

/* A poll that waits at a replica. `is_final`: it must be answered now, with a job or empty. */
struct signal_poll {
    int64_t poll; /* unique within the replica's process */
    char worker[WORKER_ID_SIZE];
    bool is_final;
};

enum seen_kind { SEEN_HEARTBEAT, SEEN_RESULT };

/* A worker was seen `age_ms` before the signal was sent. */
struct signal_seen {
    char worker[WORKER_ID_SIZE];
    int32_t age_ms;
    enum seen_kind kind;
};

/* A hand-out that this replica delivered and for which it has seen no result. */
struct signal_delivery {
    char job[JOB_ID_SIZE];
    uint32_t attempt;
    char worker[WORKER_ID_SIZE];
};

/* A query to the scheduler, which answers it consistently with the asker's earlier answers. */
enum query_kind {
    QUERY_LENGTH,     /* the number of waiting jobs of a course */
    QUERY_POSITION,   /* the number of jobs before this job */
    QUERY_WORKERS,    /* the list of workers */
    QUERY_ALIVE,      /* whether the worker with this id is alive */
    QUERY_ENDED,      /* the worker's websocket, of this epoch, has ended: answered when its jobs
                         are stored as lost */
    QUERY_PAUSES,     /* pauses have changed: answered when the scheduler has read them since, and
                         the leases of what is paused that were being inserted are stored */
    QUERY_RESUMED,    /* the same; and the worker's automatic pause has ended */
    QUERY_WORKER,     /* what is known of one worker */
    QUERY_PAUSE_LIST, /* the pauses in force, of a course or all; `epoch` is the number of the first
                         one */
    QUERY_EXPLAIN_JOB, /* why a job, a run, or a worker waits */
    QUERY_EXPLAIN_RUN,
    QUERY_EXPLAIN_WORKER,
    QUERY_ESTIMATE,       /* when this job or this run will be done */
    QUERY_ESTIMATE_COURSE /* when all jobs of the course that wait will be */
};

struct signal_query {
    int64_t number; /* unique within the replica's process */
    enum query_kind kind;
    char subject[WORKER_ID_SIZE]; /* a course, a job, a run or a worker */
    int64_t epoch;
};

/* A watch of a job or a run at this replica. `last` is the last notification: a position, or one of
 * these. */
enum { WATCH_NOTIFIED_NOTHING = -1, WATCH_NOTIFIED_STARTED = -2, WATCH_WANTS_ALL = -3 };

struct signal_watch {
    int64_t number;            /* unique within the replica's process */
    char subject[JOB_ID_SIZE]; /* the id of a job or of a run */
    int64_t last;
};

/* One batch. In a full resync `polls` and `deliveries` are complete and replace the scheduler's
 * state of the replica. */
struct signal {
    struct replica replica; /* id, url, process of the sender */
    int64_t number;         /* 1, 2, 3 … within the process */
    bool is_resync;
    bool is_shutting_down; /* the replica is shutting down: it has no polls and accepts none */
    /* A heartbeat has the number of polls that are parked as of this signal's number, and their
     * checksum: the sum modulo 2^63 of poll * 0x9E3779B97F4A7C15 shifted right by one. */
    bool is_heartbeat;
    int64_t parked_count, parked_checksum;
    struct signal_poll *polls;
    size_t poll_count;
    int64_t *gone; /* polls that wait no longer */
    size_t gone_count;
    struct signal_seen *seen;
    size_t seen_count;
    struct signal_delivery *deliveries;
    size_t delivery_count;
    struct signal_query *queries;
    size_t query_count;
    struct signal_watch *watches; /* in a full resync all of them */
    size_t watch_count;
    int64_t *unwatched; /* watches that have ended */
    size_t unwatched_count;
};

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code signal_store_open(struct database *database, struct signal_store **store,
                               struct bw_error *error) BW_CHECKED;
void signal_store_close(struct signal_store *store);

/* Inserts one batch and waits for it, `try_ms` at most. BW_OK, BW_UNAVAILABLE. The caller sends one
 * batch at a time, so that they arrive in the order of their numbers. */
enum bw_code signal_store_send(struct signal_store *store, const struct signal *signal,
                               int64_t try_ms, struct bw_error *error) BW_CHECKED;

/* Reads the signals that were sent since the database date `since_ms` and are still stored, in the
 * order of the numbers of each process. The caller owns both: signal_clear for each, then free. */
enum bw_code signal_store_read(struct signal_store *store, int64_t since_ms,
                               struct signal **signals, size_t *count, struct bw_error *error)
    BW_CHECKED;

/* For the change stream: on true everything in `signal` is owned; signal_clear. */
bool signal_from_document(const bson_t *document, struct signal *signal);
/* Frees what the signal owns. */
void signal_clear(struct signal *signal);

/* One poll's part of the checksum. */
int64_t signal_poll_checksum(int64_t poll);

#endif
