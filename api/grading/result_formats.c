#include "api/grading/result_formats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/grading/job_entry.h"
#include "common/base/alloc.h"
#include "common/base/date.h"
#include "common/base/csv_write.h"

static const struct {
    const char *name, *type;
} formats[] = {
    [RESULT_JSON] = {"json", NULL},
    [RESULT_NDJSON] = {"ndjson", "application/x-ndjson"},
    [RESULT_CSV] = {"csv", "text/csv; charset=utf-8; header=present"},
};

const char *result_format_name(enum result_format format)
{
    return formats[format].name;
}

const char *result_format_type(enum result_format format)
{
    return formats[format].type;
}

/* ---- CSV ---- */

/* The columns after those of the variables, in the order of result_row_write_csv. */
static const char *const fixed_columns[] = {"outcome",    "score",         "max_score", "attempts",
                                            "started_at", "ended_at",      "reason",    "owner",
                                            "job_id",     "grading_run_id"};

enum {
    FIXED_COLUMNS = sizeof fixed_columns / sizeof *fixed_columns,
    COLUMNS_MAX = 2000 /* of variables: they are in memory, and each row has all of them */
};

enum bw_code result_columns_add(json_t *columns, const json_t *students, struct bw_error *error)
{
    size_t index;
    json_t *env, *value;
    const char *name;
    json_array_foreach (students, index, env) {
        json_object_foreach (env, name, value)
            if (json_object_get(columns, name) == NULL)
                json_object_set_new(columns, name, json_true());
        if (json_object_size(columns) > COLUMNS_MAX)
            return bw_fail(
                error, BW_BAD_REQUEST,
                "the students have more than %d variables, too many for columns: ask for "
                "format=json or ndjson",
                COLUMNS_MAX);
    }
    return BW_OK;
}

static bool is_fixed_column(const char *name)
{
    for (size_t i = 0; i < FIXED_COLUMNS; i++)
        if (strcmp(fixed_columns[i], name) == 0)
            return true;
    return false;
}

void result_columns_write(const json_t *columns, struct text_buffer *text)
{
    struct csv_row cells = {.text = text};
    const char *name;
    json_t *unused;
    json_object_foreach ((json_t *)(uintptr_t)columns, name, unused) {
        char *shown = bw_format("%s%s", is_fixed_column(name) ? "env." : "", name);
        csv_row_add(&cells, shown);
        free(shown);
    }
    for (size_t i = 0; i < FIXED_COLUMNS; i++)
        csv_row_add(&cells, fixed_columns[i]);
    csv_row_end(&cells);
}

/* Adds a cell that is empty without a text. */
static void add_cell(struct csv_row *cells, const char *text)
{
    csv_row_add(cells, text != NULL ? text : "");
}

static void add_number(struct csv_row *cells, bool has_number, double number)
{
    if (has_number)
        csv_row_add_number(cells, number);
    else
        csv_row_add(cells, "");
}

static void add_date(struct csv_row *cells, int64_t date_ms)
{
    char text[DATE_TEXT_SIZE];
    csv_row_add(cells, date_ms != 0 ? date_format(date_ms, text) : "");
}

static void result_row_write_csv(const struct result_row *row, const json_t *env,
                                 const json_t *columns, struct text_buffer *text)
{
    struct csv_row cells = {.text = text};
    const char *name;
    json_t *unused;
    json_object_foreach ((json_t *)(uintptr_t)columns, name, unused)
        add_cell(&cells, json_string_value(json_object_get(env, name)));
    add_cell(&cells, outcome_name(row->outcome));
    add_number(&cells, row->has_score, row->score);
    add_number(&cells, row->has_max_score, row->max_score);
    csv_row_add_number(&cells, row->attempts);
    add_date(&cells, row->started_ms);
    add_date(&cells, row->ended_ms);
    csv_row_add(&cells, row->reason);
    add_cell(&cells, owner_name(row->owner));
    csv_row_add(&cells, row->job);
    csv_row_add(&cells, row->run->id);
    csv_row_end(&cells);
}

/* ---- JSON ---- */

/* {"grading_run_id", "job_id", "student": {"index", "env"}, "outcome", "attempts", "started_at",
 * "ended_at"[, "owner"][, "reason"], "result"[, the members of result_pages_write]} */
static void result_row_write_json(const struct result_row *row, const json_t *env,
                                  struct text_buffer *text)
{
    json_t *made = json_pack(
        "{s:s,s:s,s:{s:I,s:O?},s:s?,s:I,s:o,s:o}", "grading_run_id", row->run->id, "job_id",
        row->job, "student", "index", (json_int_t)row->student, "env", env, "outcome",
        outcome_name(row->outcome), "attempts", (json_int_t)row->attempts, "started_at",
        job_entry_date(row->started_ms), "ended_at", job_entry_date(row->ended_ms));
    if (row->owner != OWNER_UNSAID)
        json_object_set_new(made, "owner", json_string(owner_name(row->owner)));
    if (row->reason[0] != '\0')
        json_object_set_new(made, "reason", json_string(row->reason));
    text_buffer_add_new(text, made);
    text->length--; /* the object goes on */
    text_buffer_add_text(text, ",\"result\":");
    if (row->text.length > 0)
        text_buffer_add(text, row->text.bytes, row->text.length);
    else
        text_buffer_add_new(text, row->reason[0] != '\0' ? json_string(row->reason) : json_null());
    text_buffer_add_text(text, "}");
}

void result_row_write(enum result_format format, const struct result_row *row, const json_t *env,
                      const json_t *columns, struct text_buffer *text)
{
    if (format == RESULT_CSV) {
        result_row_write_csv(row, env, columns, text);
        return;
    }
    result_row_write_json(row, env, text);
    if (format == RESULT_NDJSON)
        text_buffer_add_text(text, "\n");
}
