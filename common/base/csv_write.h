/*
 * csv_write: rows of a CSV text (RFC 4180: commas, CRLF, quotes where needed), safe for
 * spreadsheets. A program for spreadsheets takes a cell that begins with = + - @, a tab or a
 * carriage return for a formula, quoted or not; such a text gets an apostrophe in front, unless it
 * is a number. No state; a row belongs to one thread.
 */
#ifndef COMMON_BASE_CSV_WRITE_H
#define COMMON_BASE_CSV_WRITE_H

#include <stdbool.h>

#include "common/base/text_buffer.h"

/* A row that is being written. */
struct csv_row {
    struct text_buffer *text; /* borrowed */
    bool is_begun;            /* it has a cell */
};

/* Adds a cell with a text. */
void csv_row_add(struct csv_row *row, const char *text);

/* Adds a cell with a finite number below 2^53, as JSON writes it. */
void csv_row_add_number(struct csv_row *row, double number);

/* Ends the row; the next cell begins another one. */
void csv_row_end(struct csv_row *row);

#endif
