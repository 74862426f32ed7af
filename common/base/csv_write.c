#include "common/base/csv_write.h"

#include <string.h>

#include "common/base/json_write.h"

static const char digits[] = "0123456789";

/* Whether the whole text is a decimal number: [+-]1[.2][e[+-]3]. */
static bool csv_is_number(const char *text)
{
    text += *text == '+' || *text == '-';
    size_t length = strspn(text, digits);
    if (length == 0)
        return false;
    text += length;
    if (*text == '.') {
        length = strspn(text + 1, digits);
        if (length == 0)
            return false;
        text += 1 + length;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        length = strspn(text, digits);
        if (length == 0)
            return false;
        text += length;
    }
    return *text == '\0';
}

/* Whether a spreadsheet would take the cell for a formula. */
static bool csv_is_formula(const char *text)
{
    return *text != '\0' && strchr("=+-@\t\r", *text) != NULL && !csv_is_number(text);
}

static void csv_row_begin_cell(struct csv_row *row)
{
    if (row->is_begun)
        text_buffer_add_text(row->text, ",");
    row->is_begun = true;
}

/* Adds the text with each quote doubled. */
static void csv_add_doubled(struct text_buffer *buffer, const char *text)
{
    for (const char *quote; (quote = strchr(text, '"')) != NULL; text = quote + 1) {
        text_buffer_add(buffer, text, (size_t)(quote - text) + 1);
        text_buffer_add_text(buffer, "\"");
    }
    text_buffer_add_text(buffer, text);
}

void csv_row_add(struct csv_row *row, const char *text)
{
    const char *guard = csv_is_formula(text) ? "'" : "";
    bool is_quoted = text[strcspn(text, ",\"\r\n")] != '\0';
    csv_row_begin_cell(row);
    text_buffer_add_text(row->text, is_quoted ? "\"" : "");
    text_buffer_add_text(row->text, guard);
    csv_add_doubled(row->text, text);
    text_buffer_add_text(row->text, is_quoted ? "\"" : "");
}

void csv_row_add_number(struct csv_row *row, double number)
{
    csv_row_begin_cell(row);
    text_buffer_add_new(row->text, json_number_new(number));
}

void csv_row_end(struct csv_row *row)
{
    text_buffer_add_text(row->text, "\r\n");
    row->is_begun = false;
}
