/*
 * job_entry: what the endpoints of jobs (job_list.h, job_detail.h) show of one job: who it is, how
 * far it is, and how it ended. Its state, outcome and attempts come from the facts of the run
 * (run_facts.h), so they never contradict the run's status; its dates, its signature and its score
 * from its leases and its result. Safe from any thread; job_entries_read waits for the database.
 */
#ifndef API_GRADING_JOB_ENTRY_H
#define API_GRADING_JOB_ENTRY_H

#include <jansson.h>

#include "api/grading/run_facts.h"
#include "api/grading/run_status.h"
#include "common/domain/failure_signature.h"
#include "common/domain/run_definition.h"

/* A run and the facts of its jobs; all pointers are borrowed. */
struct job_view {
    const struct run *run;
    const struct definition *definition;
    const struct job_fact *facts;
    enum run_phase phase; /* by the facts: run_status_phase */
};

struct job_entry {
    uint32_t slot;
    int64_t started_ms;              /* date of its latest hand-out; 0: none */
    int64_t ended_ms;                /* date of its result; 0: none */
    char signature[SIGNATURE_SIZE];  /* "": none */
    char superseded_by[JOB_ID_SIZE]; /* "": none */
    bool has_score, has_max_score;
    double score, max_score;
    bool has_drift; /* a grader ran another image than the run's pin */
};

/* Fills dates, signatures and scores of `count` entries, whose slots are set, in ascending order,
 * and whose other members are zero. Reads no results' texts. BW_UNAVAILABLE. */
enum bw_code job_entries_read(const struct run_facts_sources *sources, const struct job_view *view,
                              struct job_entry *entries, uint32_t count, struct bw_error *error)
    BW_CHECKED;

/* {"job_id", "kind"[, "student": {"index", "env"}], "state", "outcome", "attempts", "started_at",
 * "ended_at"[, "owner"][, "superseded_by"][, "signature"][, "drift": true][, "score"]
 * [, "max_score"]}. New reference. */
json_t *job_entry_make(const struct job_view *view, const struct job_entry *entry);

/* A date as JSON; null for 0. New reference. */
json_t *job_entry_date(int64_t date_ms);

#endif
