/*
 * result_formats: the formats in which results are answered, one row per student: JSON and ndjson,
 * with the graders' results, and CSV, with the variables of the students as columns. Pure; any
 * thread; a text belongs to one thread.
 */
#ifndef API_GRADING_RESULT_FORMATS_H
#define API_GRADING_RESULT_FORMATS_H

#include <jansson.h>

#include "api/grading/result_rows.h"
#include "common/base/error.h"
#include "common/base/text_buffer.h"

enum result_format { RESULT_JSON, RESULT_NDJSON, RESULT_CSV, RESULT_FORMATS };

/* "json", "ndjson", "csv": also the ending of a file's name. Static. */
const char *result_format_name(enum result_format format);

/* The Content-Type; NULL: the usual one of JSON. Static. */
const char *result_format_type(enum result_format format);

/* Adds the names of the students' variables to `columns` (an object, whose keys they become), in
 * the order in which they are first seen. `students`: a list of environments. BW_BAD_REQUEST: there
 * are too many. */
enum bw_code result_columns_add(json_t *columns, const json_t *students, struct bw_error *error)
    BW_CHECKED;

/* Appends the header row of a CSV text. */
void result_columns_write(const json_t *columns, struct text_buffer *text);

/* Appends a row. `env`: the student's environment; `columns`: only for CSV. A row of JSON is an
 * object without comma or line break; those of the other formats end with one. */
void result_row_write(enum result_format format, const struct result_row *row, const json_t *env,
                      const json_t *columns, struct text_buffer *text);

#endif
