/*
 * log: one line per event, one write per line, to standard error: logfmt (time=... level=...
 * event=... and the fields; values with special characters are quoted, as in JSON) or one JSON
 * object. Each value is escaped, so that a client's input can't forge a field or a line; long
 * values are cut. Never a token, never student data.
 *
 *     log_info("run started", log_text("run_id", id), log_number("students", count));
 *
 * It uses yder in callback mode: call log_open before any other thread is started. Everything else
 * is safe from any thread.
 */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Their names, in order, ended by NULL: for a table of flags. */
extern const char *const log_level_names[];
extern const char *const log_format_names[];

/* Starts logging at `level` in `format`. Called once, before any other thread. */
void log_open(const char *program, enum log_level level, enum log_format format);
void log_close(void);

struct log_field {
    const char *name;
    const char *text; /* NULL: it is a number */
    int64_t number;
};

static inline struct log_field log_text(const char *name, const char *text)
{
    return (struct log_field){.name = name, .text = text != NULL ? text : ""};
}

static inline struct log_field log_number(const char *name, int64_t number)
{
    return (struct log_field){.name = name, .number = number};
}

/* Writes an event; `fields` ends with one without a name. Use the macros. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* Writes an event that needs no fields. */
void log_event(enum log_level level, const char *event);

/* Formats the line that log_write would write, without its time: for tests. Returns its length; cut
 * to fit. */
size_t log_format_line(enum log_format format, enum log_level level, const char *event,
                       const struct log_field *fields, char *line, size_t size);

#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {0}})
#define log_debug(event, ...) log_write(LOG_LEVEL_DEBUG, event, LOG_FIELDS(__VA_ARGS__))
#define log_info(event, ...) log_write(LOG_LEVEL_INFO, event, LOG_FIELDS(__VA_ARGS__))
#define log_warning(event, ...) log_write(LOG_LEVEL_WARNING, event, LOG_FIELDS(__VA_ARGS__))
#define log_error(event, ...) log_write(LOG_LEVEL_ERROR, event, LOG_FIELDS(__VA_ARGS__))

#endif
