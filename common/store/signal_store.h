/*
 * signal_store: collection signals: what a replica tells the scheduler, one document per batch,
 * gone after a minute (TTL). Ephemeral: a lost one costs seconds, for the next sign of life shows
 * that something is missing. Safe from any thread.
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

/* A poll that waits at a replica. `is_final`: it will wait no longer: answer now, with a job or
 * with nothing. */
struct signal_poll {
    int64_t poll; /* unique within the replica's process */
    char worker[WORKER_ID_SIZE];
    bool is_final;
};

enum heard_kind { HEARD_HEARTBEAT, HEARD_RESULT };

/* A worker was heard `age_ms` before the signal was sent. */
struct signal_heard {
    char worker[WORKER_ID_SIZE];
    int32_t age_ms;
    enum heard_kind kind;
};

/* A hand-out that this replica delivered and for which it has seen no result. */
struct signal_delivery {
    char job[JOB_ID_SIZE];
    uint32_t attempt;
    char worker[WORKER_ID_SIZE];
};

/* What only the scheduler can say, as of what the asker has been told. */
enum query_kind {
    QUERY_LENGTH,   /* how many jobs of a course wait? */
    QUERY_POSITION, /* how many are before this job? */
    QUERY_WORKERS,  /* which workers are there? */
    QUERY_ALIVE,    /* does the worker of this id live? */
    QUERY_ENDED     /* the worker's websocket, of this epoch, has ended: answered once what it
                          held is on record as lost */
};

struct signal_query {
    int64_t number; /* unique within the replica's process */
    enum query_kind kind;
    char subject[WORKER_ID_SIZE]; /* a course, a job or a worker */
    int64_t epoch;
};

/* Somebody follows a job or a run at this replica. `last` is what he was told last: a position, or
 * one of these. */
enum { WATCH_TOLD_NOTHING = -1, WATCH_TOLD_STARTED = -2, WATCH_WANTS_ALL = -3 };

struct signal_watch {
    int64_t number;            /* unique within the replica's process */
    char subject[JOB_ID_SIZE]; /* the id of a job or of a run */
    int64_t last;
};

/* One batch. In an announcement `polls` and `deliveries` are all there are and replace what was
 * known of the replica. */
struct signal {
    struct replica replica; /* id, url, process of the sender */
    int64_t number;         /* 1, 2, 3 … within the process */
    bool is_announcement;
    bool is_leaving; /* the replica drains: it has no polls and takes none */
    /* A sign of life carries how many polls are parked as of this number, and their checksum: the
     * sum modulo 2^63 of poll * 0x9E3779B97F4A7C15 shifted right by one. */
    bool is_life;
    int64_t parked_count, parked_checksum;
    struct signal_poll *polls;
    size_t poll_count;
    int64_t *gone; /* polls that wait no longer */
    size_t gone_count;
    struct signal_heard *heard;
    size_t heard_count;
    struct signal_delivery *deliveries;
    size_t delivery_count;
    struct signal_query *queries;
    size_t query_count;
    struct signal_watch *watches; /* in an announcement all there are */
    size_t watch_count;
    int64_t *unwatched; /* nobody follows these any longer */
    size_t unwatched_count;
};

enum bw_code signal_store_open(struct database *database, struct signal_store **store,
                               struct bw_error *error) BW_CHECKED;
void signal_store_close(struct signal_store *store);

/* Inserts one batch and waits for it, `try_ms` at most. BW_OK, BW_UNAVAILABLE. The caller sends one
 * batch at a time, so that they arrive in the order of their numbers. */
enum bw_code signal_store_send(struct signal_store *store, const struct signal *signal,
                               int64_t try_ms, struct bw_error *error) BW_CHECKED;

/* Reads what was sent since the database date `since_ms` and is still there, in the order of the
 * numbers of each process. Both are the caller's: signal_clear for each, then free. */
enum bw_code signal_store_read(struct signal_store *store, int64_t since_ms,
                               struct signal **signals, size_t *count, struct bw_error *error)
    BW_CHECKED;

/* For the change stream: on true everything in `signal` is owned; signal_clear. */
bool signal_from_document(const bson_t *document, struct signal *signal);
void signal_clear(struct signal *signal);

/* One poll's part of the checksum. */
int64_t signal_poll_checksum(int64_t poll);

#endif
