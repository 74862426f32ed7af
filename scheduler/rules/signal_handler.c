#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/watch_notify.h"

enum { MARKS_AT_ONCE = 500 };

void record_worker(struct core *core, struct known_worker *worker)
{
    struct worker_marks *marks = &core->marks;
    if (marks->count == marks->room) {
        marks->room = marks->room * 2 + 16;
        marks->list = bw_grow(marks->list, marks->room, sizeof *marks->list);
    }
    worker->jobs_recorded = worker->jobs_processed;
    struct worker_mark *mark = &marks->list[marks->count++];
    *mark = (struct worker_mark){.term = core->term,
                                 .epoch = worker->epoch,
                                 .jobs_processed = worker->jobs_processed,
                                 .is_alive = worker->is_alive,
                                 .beats_at_work = worker->beats_at_work,
                                 .last_seen_ms = database_now_ms(core->database) -
                                                 (core->now_ms - worker->heard_ms)};
    snprintf(mark->id, sizeof mark->id, "%s", worker->id);
}

/* One batch is under way at a time: what comes meanwhile leaves together, and of two marks of a
 * worker the later one is written last. */
void workers_record_round(struct core *core)
{
    struct worker_marks *marks = &core->marks;
    if (marks->is_under_way || marks->count == 0)
        return;
    size_t count = marks->count < MARKS_AT_ONCE ? marks->count : MARKS_AT_ONCE;
    struct db_job *db_job = db_job_new(DB_JOB_MARK_WORKERS, core->generation);
    db_job->marks.list = bw_alloc(count * sizeof *marks->list);
    memcpy(db_job->marks.list, marks->list, count * sizeof *marks->list);
    db_job->marks.count = count;
    marks->count -= count;
    memmove(marks->list, marks->list + count, marks->count * sizeof *marks->list);
    marks->is_under_way = true;
    db_jobs_submit(core->db_jobs, db_job);
}

void workers_recorded(struct core *core)
{
    core->marks.is_under_way = false;
}

void worker_marks_forget(struct core *core)
{
    free(core->marks.list);
    core->marks = (struct worker_marks){0};
}

/* A worker was heard: perhaps it lives again. */
void hear_of_life(struct core *core, struct known_worker *worker, int64_t heard_ms,
                  const char *replica)
{
    if (!worker_heard(&core->workers, worker, heard_ms, replica))
        return;
    log_info("worker lives again", log_text("replica", replica));
    record_worker(core, worker);
}

void hear_worker(struct core *core, const struct worker *worker)
{
    struct known_worker *known = worker_table_find(&core->workers, worker->id);
    if (known != NULL && known->epoch >= worker->epoch)
        return;
    if (known != NULL && known->epoch > 0) { /* 0: known by a lease alone, so far */
        worker_registered_again(core, known, worker);
        return;
    }
    known = worker_table_add(&core->workers, worker->id, worker->concurrency, worker->is_alive,
                             core->now_ms);
    worker_describe(known, worker);
}

/* A worker that a replica speaks of and whose registration the stream has not told. */
struct asked_worker {
    char id[WORKER_ID_SIZE];
    int64_t asked_ms;
    UT_hash_handle hh;
};

/* Looks it up; then its replica is asked what it knows. */
static void ask_for_worker(struct core *core, const char *id, const struct known_replica *replica)
{
    struct asked_worker *asked;
    HASH_FIND_STR(core->asked, id, asked);
    if (asked != NULL)
        return;
    asked = bw_alloc(sizeof *asked);
    snprintf(asked->id, sizeof asked->id, "%s", id);
    asked->asked_ms = core->now_ms;
    HASH_ADD_STR(core->asked, id, asked);
    struct db_job *db_job = db_job_new(DB_JOB_READ_WORKER, core->generation);
    snprintf(db_job->read.replica, sizeof db_job->read.replica, "%s", replica->id);
    snprintf(db_job->read.worker.id, sizeof db_job->read.worker.id, "%s", id);
    db_jobs_submit(core->db_jobs, db_job);
}

void worker_was_read(struct core *core, const struct db_job *db_job)
{
    if (db_job->code != BW_OK)
        return; /* there is no such worker, or it is asked for again */
    metric_add(core->metrics, SCHEDULER_MISSED, 1);
    hear_worker(core, &db_job->read.worker);
    struct known_replica *replica = replica_table_find(&core->replicas, db_job->read.replica);
    if (replica != NULL)
        replica->wants_announcement = true;
}

void forget_asked_workers(struct core *core, int64_t before_ms)
{
    struct asked_worker *asked, *following;
    HASH_ITER (hh, core->asked, asked, following) {
        if (asked->asked_ms > before_ms)
            continue;
        HASH_DELETE(hh, core->asked, asked);
        free(asked);
    }
}

static void hear_polls(struct core *core, struct known_replica *replica,
                       const struct signal *signal)
{
    for (size_t i = 0; i < signal->poll_count; i++) {
        const struct signal_poll *heard = &signal->polls[i];
        struct known_worker *worker = worker_table_find(&core->workers, heard->worker);
        if (worker == NULL) {
            ask_for_worker(core, heard->worker, replica);
            continue;
        }
        hear_of_life(core, worker, core->now_ms, replica->id);
        worker_acted(worker, core->now_ms);
        replica_park(&core->replicas, replica, worker, heard->poll, heard->is_final);
    }
}

static void hear_gone(struct core *core, struct known_replica *replica, const struct signal *signal)
{
    for (size_t i = 0; i < signal->gone_count; i++) {
        struct parked_poll *poll = replica_find_poll(replica, signal->gone[i]);
        if (poll != NULL && poll->state == POLL_WAITING)
            poll_answered(&core->replicas, poll, core->now_ms);
    }
}

/* Was it heard while it held a job? It may have got one since. */
static bool was_at_work(const struct known_worker *worker, int64_t heard_ms)
{
    return worker->leases != NULL && worker->leases->leased_ms < heard_ms;
}

static void hear_heartbeats(struct core *core, struct known_replica *replica,
                            const struct signal *signal)
{
    for (size_t i = 0; i < signal->heard_count; i++) {
        const struct signal_heard *heard = &signal->heard[i];
        struct known_worker *worker = worker_table_find(&core->workers, heard->worker);
        if (worker == NULL) {
            ask_for_worker(core, heard->worker, replica);
            continue;
        }
        int64_t heard_ms = core->now_ms - heard->age_ms;
        bool is_beat = heard->kind == HEARD_HEARTBEAT && was_at_work(worker, heard_ms);
        hear_of_life(core, worker, heard_ms, replica->id);
        if (is_beat && worker_beat(worker))
            record_worker(core, worker);
    }
}

/* The hand-outs that the replica delivered reached their workers, as far as anyone can know. */
static void hear_deliveries(struct core *core, const struct signal *signal)
{
    for (size_t i = 0; i < signal->delivery_count; i++) {
        const struct signal_delivery *delivery = &signal->deliveries[i];
        struct live_lease *lease = lease_table_find(&core->leases, delivery->job);
        if (lease != NULL && lease->attempt == delivery->attempt &&
            lease->state == LEASE_UNCONFIRMED)
            lease_is_delivered(core, lease);
    }
}

/* What an announcement does not name is over. */
static void drop_unlisted(struct core *core, struct known_replica *replica)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        if (poll->state == POLL_WAITING && !poll->is_listed)
            poll_answered(&core->replicas, poll, core->now_ms);
}

static void hear_announcement(struct core *core, struct known_replica *replica,
                              const struct signal *signal)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        poll->is_listed = false;
    hear_polls(core, replica, signal);
    drop_unlisted(core, replica);
    hear_deliveries(core, signal);
    replica->has_announced = true;
    replica->mismatches = 0;
}

/* A sign of life tells whether a signal was lost. While hand-outs are under way the two sides may
 * rightly differ. */
static void compare_checksum(struct known_replica *replica, const struct signal *signal)
{
    int64_t count, checksum;
    if (replica->matched > 0 || replica->is_busy)
        return;
    replica_checksum(replica, &count, &checksum);
    if (count == signal->parked_count && checksum == signal->parked_checksum) {
        replica->mismatches = 0;
        return;
    }
    if (++replica->mismatches < 2)
        return;
    replica->mismatches = 0;
    replica->wants_announcement = true;
}

static struct known_replica *find_replica(struct core *core, const struct signal *signal)
{
    struct known_replica *replica = replica_table_find(&core->replicas, signal->replica.id);
    if (replica == NULL) {
        replica = replica_table_add(&core->replicas, signal->replica.id, signal->replica.url);
        replica->wants_announcement = true;
        snprintf(replica->process, sizeof replica->process, "%s", signal->replica.process);
        core->status_is_stale = true;
        log_info("replica found", log_text("replica", replica->id));
    }
    if (strcmp(replica->process, signal->replica.process) != 0)
        replica_changed_process(core, replica, signal->replica.process);
    return replica;
}

/* A signal may come twice, by the stream and by a look, and a look may bring what a process of the
 * past has sent. */
static bool was_heard(const struct core *core, const struct signal *signal)
{
    const struct known_replica *replica = replica_table_find(&core->replicas, signal->replica.id);
    if (replica == NULL)
        return false;
    if (strcmp(replica->process, signal->replica.process) == 0)
        return signal->number <= replica->heard_number;
    return strcmp(replica->former_process, signal->replica.process) == 0;
}

bool hear_signal(struct core *core, const struct signal *signal)
{
    if (was_heard(core, signal))
        return false;
    struct known_replica *replica = find_replica(core, signal);
    replica->heard_number = signal->number;
    replica->heard_ms = core->now_ms;
    if (!replica->in_contact)
        replica->wants_announcement = true; /* it lives: try it again */
    hear_heartbeats(core, replica, signal);
    if (signal->is_announcement) {
        hear_announcement(core, replica, signal);
    } else {
        hear_polls(core, replica, signal);
        hear_gone(core, replica, signal);
    }
    hear_queries(core, replica, signal);
    hear_watches(core, replica, signal);
    if (signal->is_leaving)
        replica_drop_polls(&core->replicas, replica, core->now_ms);
    if (signal->is_life)
        compare_checksum(replica, signal);
    return true;
}
