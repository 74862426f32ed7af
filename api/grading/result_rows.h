/*
 * result_rows: reads what the rows of a run's results show, one per student, page by page, by the
 * computed ids of results and leases. With a family (rerun_family.h) a student's row is that of one
 * of its runs: of those in which the job has succeeded or failed, the one whose result is newest;
 * without any, of those in which it was cancelled or superseded; else the newest run.
 *
 * A row of a job that has a result depends on nothing that may change once its run is stored as
 * over, except of a superseded job, to which its holder's report may be added. Waits for the
 * database, so it is used on the thread pool. For one thread at a time.
 */
#ifndef API_GRADING_RESULT_ROWS_H
#define API_GRADING_RESULT_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/grading/rerun_family.h"
#include "common/base/error.h"
#include "common/base/text_buffer.h"
#include "common/domain/job.h"

struct api;
struct result_rows;

struct result_row {
    const struct run *run; /* the run of the job; borrowed from the family */
    uint32_t student;      /* the position in the family's first run */
    char job[JOB_ID_SIZE];
    enum job_outcome outcome; /* OUTCOME_NONE: there is no result yet */
    enum job_owner owner;
    uint32_t attempts;
    int64_t started_ms, ended_ms; /* dates of the latest hand-out before the end, and of the
                                     result; 0: none */
    char reason[REASON_SIZE];     /* "": none */
    bool has_score, has_max_score;
    double score, max_score;
    struct text_buffer text; /* with texts: what result_pages_write makes of the result; empty: the
                                job has none */
};

/* Returns a new object, never NULL. Borrows `family` and `api` until result_rows_free. */
struct result_rows *result_rows_new(struct api *api, const struct rerun_family *family,
                                    bool with_text);
void result_rows_free(struct result_rows *rows); /* NULL is allowed */

/* Reads the next page. *page is borrowed until the next call; *count is 0 after the last student.
 * BW_UNAVAILABLE: the database can't be reached, or the results are being removed. */
enum bw_code result_rows_read(struct result_rows *rows, const struct result_row **page,
                              uint32_t *count, struct bw_error *error) BW_CHECKED;

/* The bytes that the page holds. */
size_t result_rows_held(const struct result_rows *rows);

#endif
