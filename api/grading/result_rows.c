#include "api/grading/result_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/result_pages.h"
#include "api/grading/run_status.h"
#include "common/base/alloc.h"
#include "common/store/job_leases.h"
#include "common/store/job_results.h"

enum {
    PAGE_MAX = JOB_LEASES_CHUNK, /* so that no chunk of a page is without leases */
    PAGE_FIRST = 32              /* without texts: the first page is made fast */
};

/* A row that is being read. */
struct row_reading {
    const struct family_member *member; /* whose job it is; NULL: none was found yet */
    bool is_live;                       /* a lease of the job has not ended */
    bool has_result;
};

struct result_rows {
    struct api *api;
    const struct rerun_family *family;
    bool with_text;
    uint32_t next;   /* the student with whom the next page begins */
    uint32_t wanted; /* the number of rows of the next page */
    uint32_t count;
    uint32_t end;                       /* rows from here on had no room, and are read again */
    size_t bytes;                       /* of the texts */
    const struct family_member *member; /* whose results or leases are being read */
    struct result_row rows[PAGE_MAX];
    struct row_reading reading[PAGE_MAX];
};

struct result_rows *result_rows_new(struct api *api, const struct rerun_family *family,
                                    bool with_text)
{
    struct result_rows *rows = bw_alloc(sizeof *rows);
    rows->api = api;
    rows->family = family;
    rows->with_text = with_text;
    rows->wanted = with_text ? 1 : PAGE_FIRST; /* the driver holds a whole reply */
    return rows;
}

static void result_rows_clear(struct result_rows *rows)
{
    for (uint32_t i = 0; i < rows->count; i++)
        text_buffer_clear(&rows->rows[i].text);
    rows->count = 0;
    rows->bytes = 0;
}

void result_rows_free(struct result_rows *rows)
{
    if (rows == NULL)
        return;
    result_rows_clear(rows);
    free(rows);
}

size_t result_rows_held(const struct result_rows *rows)
{
    return sizeof *rows + rows->bytes;
}

/* ---- Which row counts ---- */

/* How much an outcome says of a student. */
static int outcome_rank(enum job_outcome outcome)
{
    if (outcome == OUTCOME_NONE)
        return 0;
    return outcome == OUTCOME_SUCCEEDED || outcome == OUTCOME_FAILED ? 2 : 1;
}

/* Whether a job that ended so replaces the row, whose run is an earlier one. */
static bool row_is_replaced(const struct result_row *row, enum job_outcome outcome,
                            int64_t ended_ms)
{
    int before = outcome_rank(row->outcome), after = outcome_rank(outcome);
    return after != before ? after > before : ended_ms >= row->ended_ms;
}

/* ---- Results ---- */

static uint32_t member_slot(const struct family_member *member, uint32_t student)
{
    return (member->run.has_pre ? 1 : 0) + student;
}

/* The place in the page of a job of the member that is being read. */
static uint32_t result_rows_place(const struct result_rows *rows, uint32_t slot)
{
    uint32_t student = slot - member_slot(rows->member, 0);
    return family_member_position(rows->member, student) - rows->rows[0].student;
}

/* Makes the row that of a job, without its result. */
static void result_rows_take_job(struct result_rows *rows, uint32_t place)
{
    struct result_row *row = &rows->rows[place];
    const struct family_member *member = rows->member;
    uint32_t student = family_member_student(member, row->student);
    text_buffer_clear(&row->text);
    *row = (struct result_row){.run = &member->run, .student = row->student};
    run_slot_job_id(&member->run, member_slot(member, student), row->job);
    rows->reading[place] = (struct row_reading){.member = member};
}

/* Keeps the result's text, if there is room: that of the first row always. */
static void result_rows_take_text(struct result_rows *rows, uint32_t place,
                                  const struct result *result)
{
    struct result_row *row = &rows->rows[place];
    size_t length = result->text_length + (result->tests != NULL ? strlen(result->tests) : 0);
    if (place > 0 && rows->bytes + length > RESULT_PAGE_BYTES) {
        rows->end = place < rows->end ? place : rows->end;
        return;
    }
    result_pages_write(result, &row->text);
    rows->bytes += row->text.size;
}

static void result_rows_take_result(uint32_t slot, const struct result *result, void *context)
{
    struct result_rows *rows = context;
    uint32_t place = result_rows_place(rows, slot);
    struct result_row *row = &rows->rows[place];
    if (rows->reading[place].member == rows->member && rows->reading[place].has_result)
        return; /* reported twice, after a read was repeated */
    if (!row_is_replaced(row, result->outcome, result->finished_ms))
        return;
    rows->bytes -= row->text.size;
    result_rows_take_job(rows, place);
    rows->reading[place].has_result = true;
    row->outcome = result->outcome;
    row->owner = result->owner;
    row->started_ms = result->started_ms;
    row->ended_ms = result->finished_ms;
    memcpy(row->reason, result->reason, sizeof row->reason);
    row->has_score = result->has_score;
    row->score = result->score;
    row->has_max_score = result->has_max_score;
    row->max_score = result->max_score;
    if (rows->with_text)
        result_rows_take_text(rows, place, result);
}

/* A job without a result: its row counts if its run ended before it ran, or if no earlier run has
 * more to say. */
static void result_rows_take_open(struct result_rows *rows, uint32_t place)
{
    struct result_row *row = &rows->rows[place];
    const struct job_fact fact = {.outcome = OUTCOME_NONE};
    enum run_phase phase = rows->member->run.phase;
    enum job_outcome outcome = run_status_job_outcome(&fact, phase);
    const char *reason = run_status_job_left_over(&fact, phase);
    if (!row_is_replaced(row, outcome, 0))
        return;
    result_rows_take_job(rows, place);
    row->outcome = outcome;
    if (reason != NULL)
        snprintf(row->reason, sizeof row->reason, "%s", reason);
}

/* Whether the run is recorded to have a result of the job, which must be there then. */
static bool run_has_recorded(const struct run *run, uint32_t slot)
{
    return slot < run->summary_length && summary_outcome(run->summary[slot]) != OUTCOME_NONE;
}

/* Reads the results of one run's jobs for the page. `slots` has room for the page. */
static enum bw_code result_rows_read_member(struct result_rows *rows, struct slot_list *slots,
                                            struct bw_error *error)
{
    const struct family_member *member = rows->member;
    const struct job_results results = {.store = rows->api->result_store,
                                        .run = &member->run,
                                        .with_text = rows->with_text,
                                        .take = result_rows_take_result,
                                        .context = rows};
    uint32_t first = rows->rows[0].student;
    slots->count = 0;
    for (uint32_t i = family_member_student(member, first);
         i < member->run.students && family_member_position(member, i) - first < rows->count; i++)
        slots->items[slots->count++] = member_slot(member, i);
    for (uint32_t i = 0; i < slots->count; i++)
        result_rows_take_open(rows, result_rows_place(rows, slots->items[i]));
    return member->run.started_ms != 0 ? job_results_read(&results, slots, error) : BW_OK;
}

/* A result that is recorded, but was not found, is being removed. */
static enum bw_code result_rows_check(const struct result_rows *rows, struct bw_error *error)
{
    for (uint32_t i = 0; i < rows->end; i++) {
        const struct family_member *member = rows->reading[i].member;
        uint32_t slot = member_slot(member, family_member_student(member, rows->rows[i].student));
        if (!rows->reading[i].has_result && run_has_recorded(&member->run, slot))
            return bw_fail(error, BW_UNAVAILABLE,
                           "a result of the grading run '%s' can't be read: it is being removed",
                           member->run.id);
    }
    return BW_OK;
}

/* ---- Leases ---- */

static void result_rows_take_lease(uint32_t slot, const struct lease *lease, void *context)
{
    struct result_rows *rows = context;
    uint32_t place = result_rows_place(rows, slot);
    struct result_row *row = &rows->rows[place];
    bool is_before = row->ended_ms == 0 || lease->leased_ms <= row->ended_ms;
    row->attempts += lease->end != LEASE_RELEASED && lease->end != LEASE_RETURNED;
    if (is_before && lease->leased_ms > row->started_ms)
        row->started_ms = lease->leased_ms;
    rows->reading[place].is_live = rows->reading[place].is_live || lease->end == LEASE_LIVE;
}

/* Whether the run and the result say all that leases could. */
static bool row_is_complete(const struct result_rows *rows, uint32_t place, uint32_t slot)
{
    return rows->reading[place].has_result && rows->rows[place].started_ms != 0 &&
           run_has_recorded(&rows->member->run, slot);
}

/* What the run has recorded of its end is more stable than its leases. */
static void result_rows_take_summary(struct result_row *row, uint32_t slot)
{
    if (run_has_recorded(row->run, slot))
        row->attempts = summary_attempts(row->run->summary[slot]);
}

/* Lists the jobs of the member that is being read. */
static void result_rows_list(const struct result_rows *rows, struct slot_list *slots)
{
    slots->count = 0;
    for (uint32_t i = 0; i < rows->end; i++)
        if (rows->reading[i].member == rows->member)
            slots->items[slots->count++] = member_slot(
                rows->member, family_member_student(rows->member, rows->rows[i].student));
}

/* Reads the leases of the listed jobs; only those without a live one may have further ones. */
static enum bw_code result_rows_read_leases(struct result_rows *rows, struct slot_list *slots,
                                            struct bw_error *error)
{
    const struct job_leases leases = {.store = rows->api->lease_store,
                                      .run = &rows->member->run,
                                      .take = result_rows_take_lease,
                                      .context = rows};
    uint32_t kept = 0;
    enum bw_code code = slots->count > 0 ? job_leases_read_first(&leases, slots, error) : BW_OK;
    for (uint32_t i = 0; i < slots->count; i++)
        if (!rows->reading[result_rows_place(rows, slots->items[i])].is_live)
            slots->items[kept++] = slots->items[i];
    slots->count = kept;
    return code == BW_OK && kept > 0 ? job_leases_read_on(&leases, slots, 2, error) : code;
}

/* Adds the attempts and the start to those rows that are of one run. */
static enum bw_code result_rows_add_attempts(struct result_rows *rows, struct slot_list *slots,
                                             struct bw_error *error)
{
    const struct run *run = &rows->member->run;
    if (run->started_ms == 0 || !run->has_stages[JOB_STUDENT])
        return BW_OK;
    uint32_t kept = 0;
    result_rows_list(rows, slots);
    for (uint32_t i = 0; i < slots->count; i++)
        if (!row_is_complete(rows, result_rows_place(rows, slots->items[i]), slots->items[i]))
            slots->items[kept++] = slots->items[i];
    slots->count = kept;
    enum bw_code code = result_rows_read_leases(rows, slots, error);
    result_rows_list(rows, slots);
    for (uint32_t i = 0; i < slots->count; i++)
        result_rows_take_summary(&rows->rows[result_rows_place(rows, slots->items[i])],
                                 slots->items[i]);
    return code;
}

/* ---- A page ---- */

/* The next page has as many rows as had room, or twice as many if there was much more. */
static void result_rows_adapt(struct result_rows *rows)
{
    if (rows->end < rows->count)
        rows->wanted = rows->end;
    else if (rows->bytes < RESULT_PAGE_BYTES / 2)
        rows->wanted = rows->wanted * 2 < PAGE_MAX ? rows->wanted * 2 : PAGE_MAX;
}

static void result_rows_begin(struct result_rows *rows)
{
    uint32_t left = rows->family->members[0].run.students - rows->next;
    result_rows_clear(rows);
    rows->count = left < rows->wanted ? left : rows->wanted;
    rows->end = rows->count;
    for (uint32_t i = 0; i < rows->count; i++) {
        rows->rows[i] = (struct result_row){.student = rows->next + i};
        rows->reading[i] = (struct row_reading){.member = NULL};
    }
}

enum bw_code result_rows_read(struct result_rows *rows, const struct result_row **page,
                              uint32_t *count, struct bw_error *error)
{
    uint32_t items[PAGE_MAX];
    struct slot_list slots = {items, 0};
    enum bw_code code = BW_OK;
    result_rows_begin(rows);
    for (uint32_t i = 0; code == BW_OK && rows->count > 0 && i < rows->family->count; i++) {
        rows->member = &rows->family->members[i];
        code = result_rows_read_member(rows, &slots, error);
    }
    if (code == BW_OK)
        code = result_rows_check(rows, error);
    for (uint32_t i = 0; code == BW_OK && rows->count > 0 && i < rows->family->count; i++) {
        rows->member = &rows->family->members[i];
        code = result_rows_add_attempts(rows, &slots, error);
    }
    if (code != BW_OK)
        return code;
    result_rows_adapt(rows);
    rows->next += rows->end;
    *page = rows->rows;
    *count = rows->end;
    return BW_OK;
}
