/*
 * sim_database: the documents, what every write does to them, and the list of changes that streams
 * follow. Writes happen at once here; sim_call says when, and who learns of it. What the stores of
 * common/store promise (first insert wins, an end of a lease names its term) holds here too.
 */
#ifndef TESTS_SIMULATION_SIM_DATABASE_H
#define TESTS_SIMULATION_SIM_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/leader_store.h"
#include "common/domain/pause.h"
#include "common/store/lease_store.h"
#include "common/store/replica_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"
#include "tests/simulation/plan.h"

struct world;

enum { WORKERS_MOST = GRADERS * 40 };

/* All logs of a job are the same one. */
#define LOG_DIGEST "log"

struct sim_attempt {
    bool exists;
    struct lease lease;
    int64_t nonce;
    int64_t inserted_ms, ended_ms;
};

struct sim_job {
    struct result *result;           /* own; NULL: none yet */
    int64_t result_nonce, result_ms; /* when it was inserted; on no clock that steps */
    struct sim_attempt *attempts;    /* own; [attempt - 1] */
    uint32_t attempt_room;
    bool has_log;
};

struct sim_run {
    struct run run; /* its summary is own */
    bool has_definition, is_created, is_active;
    bool is_hidden, is_gone;         /* being removed; removed, but for what of it is needed here */
    int64_t defined_ms, recorded_ms; /* its definition and its end; on no clock that steps */
    uint32_t slots;
    struct sim_job *jobs; /* own */
};

struct sim_worker {
    bool exists;
    struct worker worker;
    int64_t nonce, mark_term;
    int64_t registered_ms; /* on no clock that steps */
};

/* A signal is kept as long as a stream or a scan may want it. */
struct sim_signal {
    struct signal signal;
    int64_t at_ms, date_ms;
    struct sim_signal *next;
};

/* A pause of one of PAUSE_TARGETS. */
struct sim_pause {
    bool exists;
    struct pause pause;
    int64_t put_ms, ended_ms; /* when it was last written, and resumed; on no clock that steps */
};

enum change_kind {
    CHANGE_RUN,
    CHANGE_RESULT,
    CHANGE_RETURN,
    CHANGE_SIGNAL,
    CHANGE_WORKER,
    CHANGE_MARK
};

struct change {
    enum change_kind kind;
    int64_t at_ms;
    int run;
    uint32_t slot; /* of a result, or of a job that was returned */
    uint32_t attempt;
    int worker;
    struct sim_signal *signal;
    int64_t mark;
};

struct sim_database {
    bool is_down;
    int64_t nonce;
    struct sim_run runs[RUNS];
    struct sim_worker *workers; /* own; WORKERS_MOST */
    int worker_count;
    struct replica replicas[REPLICAS]; /* without an id: no document */
    struct leader leader;
    struct sim_pause pauses[PAUSE_TARGETS];
    struct sim_pause breaks[RUNS];                 /* those that breakers of runs have made */
    struct sim_signal *first_signal, *last_signal; /* own; oldest first */
    struct change *changes;                        /* own */
    size_t change_count, change_room;
};

void sim_database_init(struct world *world);
void sim_database_destroy(struct world *world);

/* Ids carry their numbers. -1: not an id of this world. */
void sim_run_id(int run, char id[RUN_ID_SIZE]);
int sim_run_number(const char *id);
void sim_worker_id(int worker, enum protocol protocol, char id[WORKER_ID_SIZE]);
int sim_worker_number(const char *id);

/* The grader that registers with the worker's id. */
int sim_worker_grader(int worker);

/* The worker of the job's live lease; -1: it has none. */
int sim_job_worker(const struct sim_job *job);

/* The job of that id, NULL: there is none. */
struct sim_job *sim_job_find(struct world *world, const char *id, int *run, uint32_t *slot);
void sim_job_id(const struct world *world, int run, uint32_t slot, char id[JOB_ID_SIZE]);

/* The attempt, NULL: it was never inserted. */
struct sim_attempt *sim_attempt_find(const struct sim_job *job, uint32_t attempt);

enum commit_outcome sim_lease_insert(struct world *world, const struct lease *lease, int64_t nonce);
enum commit_outcome sim_result_insert(struct world *world, const struct result *result,
                                      int64_t nonce);
/* True: it is ended now. */
bool sim_lease_end(struct world *world, const char *job, uint32_t attempt, int64_t term,
                   enum lease_end end);

/* Its grader returns the job: the attempt ends, unless it has ended. */
void sim_lease_return(struct world *world, int run, uint32_t slot, uint32_t attempt);

/* Its definition, and unless `is_partly` it itself. */
void sim_run_create(struct world *world, int run, bool is_partly);
void sim_run_start(struct world *world, int run);
void sim_run_cancel(struct world *world, int run);
/* A job of the run is about to be cancelled alone. */
void sim_run_note_job_cancel(struct world *world, int run);
void sim_run_place(struct world *world, const char *id, const struct run_place *place);
void sim_run_advance(struct world *world, const char *id, enum run_phase phase, int64_t ended_ms,
                     const uint8_t *summary, uint32_t length, const struct breaker *breaker);

/* False: the id was there before. */
bool sim_worker_insert(struct world *world, const struct worker *worker);
bool sim_worker_renew(struct world *world, const struct worker *worker, int64_t former_epoch);
void sim_worker_mark(struct world *world, const struct worker_mark *mark);

/* Takes what the signal owns. */
void sim_signal_insert(struct world *world, struct signal *signal);
/* A copy, for an event or a scan. */
void sim_signal_copy(const struct signal *from, struct signal *to);

/* A scheduler inserts the automatic pause of a run. */
void sim_pause_break(struct world *world, const struct pause *pause);

/* Pauses and resumes one of PAUSE_TARGETS. */
void sim_pause_put(struct world *world, int target, int64_t timeout_ms, bool is_drain);
void sim_pause_end(struct world *world, int target);

/* The run has ended. */
void sim_pause_forget(struct world *world, int run);

/* All pauses that are stored; new, free(). */
struct pause *sim_pauses_copy(const struct world *world, size_t *count);

/* The leader's document. */
bool sim_leader_take(struct world *world, const char *holder, int64_t lease_ms,
                     const struct leader *seen);
bool sim_leader_renew(struct world *world, const char *holder, int64_t term);
void sim_leader_mark(struct world *world, int64_t mark);

#endif
