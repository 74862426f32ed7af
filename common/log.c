#include "common/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yder.h>

#include "common/clock.h"

enum { LINE_SIZE = 4096, VALUE_MAX = 256 };

/* yder has one state for the process, and so have we. Written by log_open alone, before any other thread. */
static struct {
    enum log_level level;
    enum log_format format;
    bool is_open;
} settings = {.level = LOG_LEVEL_INFO};

const char *const log_level_names[] = {"debug", "info", "warning", "error", NULL};
const char *const log_format_names[] = {"text", "json", NULL};
static const unsigned long yder_levels[] = {Y_LOG_LEVEL_DEBUG, Y_LOG_LEVEL_INFO, Y_LOG_LEVEL_WARNING, Y_LOG_LEVEL_ERROR};

/* A line that is being put together; what does not fit is left out. */
struct line {
    char *text;
    size_t size, length;
};

static void put(struct line *line, const char *text, size_t length)
{
    size_t room = line->size - 1 - line->length;
    size_t kept = length < room ? length : room;
    memcpy(line->text + line->length, text, kept);
    line->length += kept;
    line->text[line->length] = '\0';
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* One byte of a quoted value. Bytes above ASCII pass, but for the C1 controls' lead, which terminals obey. */
static void put_escaped(struct line *line, unsigned char byte)
{
    char escaped[8];
    if (byte == '"' || byte == '\\')
        snprintf(escaped, sizeof escaped, "\\%c", byte);
    else if (byte < 0x20 || byte == 0x7F)
        snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    else
        snprintf(escaped, sizeof escaped, "%c", byte);
    put_text(line, escaped);
}

static void put_quoted(struct line *line, const char *value)
{
    size_t length = strlen(value), kept = length < VALUE_MAX ? length : VALUE_MAX;
    while (kept < length && kept > 0 && ((unsigned char)value[kept] & 0xC0) == 0x80)
        kept--;
    put(line, "\"", 1);
    for (size_t i = 0; i < kept; i++)
        put_escaped(line, (unsigned char)value[i]);
    put_text(line, kept < length ? "…\"" : "\"");
}

/* In text a value needs quotes unless it is made of these. */
static bool is_plain(const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/+-";
    size_t length = strlen(value);
    return length > 0 && length <= VALUE_MAX && strspn(value, plain) == length;
}

static void put_field(struct line *line, enum log_format format, const struct log_field *field)
{
    char number[24];
    put_text(line, format == LOG_FORMAT_JSON ? ",\"" : " ");
    put_text(line, field->name);
    put_text(line, format == LOG_FORMAT_JSON ? "\":" : "=");
    if (field->text == NULL) {
        snprintf(number, sizeof number, "%lld", (long long)field->number);
        put_text(line, number);
    } else if (format == LOG_FORMAT_TEXT && is_plain(field->text)) {
        put_text(line, field->text);
    } else {
        put_quoted(line, field->text);
    }
}

size_t log_format_line(enum log_format format, enum log_level level, const char *event, const struct log_field *fields,
                       char *text, size_t size)
{
    struct line line = {text, size - 2, 0}; /* room for the end */
    bool is_json = format == LOG_FORMAT_JSON;
    put_text(&line, is_json ? "\"level\":\"" : "");
    put_text(&line, log_level_names[level]);
    put_text(&line, is_json ? "\",\"event\":" : " ");
    put_quoted(&line, event);
    for (; fields->name != NULL; fields++)
        put_field(&line, format, fields);
    line.size = size;
    put_text(&line, is_json ? "}" : "");
    return line.length;
}

/* yder's callback: the message is the whole line already. */
static void write_line(void *context, const char *program, const time_t date, const unsigned long level, const char *message)
{
    (void)context, (void)program, (void)date, (void)level;
    size_t length = strlen(message);
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, message, length);
        if (written <= 0)
            return; /* nobody is there to be told */
        message += written;
        length -= (size_t)written;
    }
}

void log_open(const char *program, enum log_level level, enum log_format format)
{
    settings.level = level;
    settings.format = format;
    settings.is_open =
        y_init_logs(program, Y_LOG_MODE_NONE, Y_LOG_LEVEL_DEBUG, NULL, NULL) == 1 &&
        y_set_logs_callback(write_line, NULL, NULL) == 1;
}

void log_close(void)
{
    if (settings.is_open)
        y_close_logs();
    settings.is_open = false;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    char line[LINE_SIZE], date[DATE_TEXT_SIZE];
    if (!settings.is_open || level < settings.level)
        return;
    date_format(clock_wall_ms(), date);
    int head = snprintf(line, sizeof line, settings.format == LOG_FORMAT_JSON ? "{\"time\":\"%s\"," : "%s ", date);
    size_t length = (size_t)head + log_format_line(settings.format, level, event, fields, line + head,
                                                   sizeof line - (size_t)head - 1);
    line[length] = '\n';
    line[length + 1] = '\0';
    y_log_message(yder_levels[level], "%s", line);
}

void log_event(enum log_level level, const char *event)
{
    static const struct log_field none[] = {{0}};
    log_write(level, event, none);
}
