#include "common/base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yder.h>

#include "common/base/clock.h"
#include "common/base/date.h"

enum {
    LINE_SIZE = 4096,
    VALUE_MAX = 512,
    OWN_MARK = 0x1E /* marks Broadway's own lines for yder's callback */
};

/* yder has one state for the process, and so has this module. Written only by log_open, before any
 * other thread. */
static struct {
    enum log_level level;
    enum log_format format;
    bool is_open;
} settings = {.level = LOG_LEVEL_INFO};

const char *const log_level_names[] = {"debug", "info", "warning", "error", NULL};
const char *const log_format_names[] = {"text", "json", NULL};
static const unsigned long yder_levels[] = {Y_LOG_LEVEL_DEBUG, Y_LOG_LEVEL_INFO,
                                            Y_LOG_LEVEL_WARNING, Y_LOG_LEVEL_ERROR};

/* A line that is being built. A field that does not fit completely is omitted. */
struct line {
    char *text;
    size_t size, length;
    bool is_full; /* something was left out since this was cleared */
};

static void log_put(struct line *line, const char *text, size_t length)
{
    if (line->is_full || length > line->size - 1 - line->length) {
        line->is_full = true;
        return;
    }
    memcpy(line->text + line->length, text, length);
    line->length += length;
    line->text[line->length] = '\0';
}

static void put_text(struct line *line, const char *text)
{
    log_put(line, text, strlen(text));
}

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* The number of bytes of the character at `text` if it is whole, valid UTF-8 beyond ASCII; else 0.
 * *code: which character. */
static size_t wide_character(const char *text, unsigned *code)
{
    static const struct {
        unsigned mask, lead, least;
    } forms[] = {{0xE0, 0xC0, 0x80}, {0xF0, 0xE0, 0x800}, {0xF8, 0xF0, 0x10000}};
    unsigned byte = (unsigned char)text[0];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if ((byte & forms[i].mask) != forms[i].lead)
            continue;
        *code = byte & ~forms[i].mask;
        for (size_t k = 1; k <= i + 1; k++) {
            if (!is_continuation(text[k]))
                return 0;
            *code = *code << 6 | ((unsigned char)text[k] & 0x3F);
        }
        bool is_surrogate = *code >= 0xD800 && *code <= 0xDFFF;
        return *code < forms[i].least || *code > 0x10FFFF || is_surrogate ? 0 : i + 2;
    }
    return 0;
}

/* Whether a terminal or a line-based reader would interpret this character. */
static bool is_control(unsigned code)
{
    bool is_separator = code == 0x2028 || code == 0x2029;
    bool is_direction = (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
    return code < 0x20 || (code >= 0x7F && code <= 0x9F) || is_separator || is_direction;
}

/* One character of a quoted value; returns how many bytes it took. A byte that is no UTF-8 is shown
 * as U+00NN. */
static size_t put_character(struct line *line, const char *text)
{
    char escaped[8];
    unsigned code = (unsigned char)text[0];
    size_t length = code < 0x80 ? 1 : wide_character(text, &code);
    if (length == 0 || is_control(code)) {
        snprintf(escaped, sizeof escaped, "\\u%04x", code & 0xFFFF);
        if (length == 0)
            snprintf(escaped, sizeof escaped, "\\u00%02x", (unsigned char)text[0]);
        put_text(line, escaped);
        return length == 0 ? 1 : length;
    }
    if (code == '"' || code == '\\')
        put_text(line, "\\");
    log_put(line, text, length);
    return length;
}

static void put_quoted(struct line *line, const char *value)
{
    size_t length = strlen(value), kept = length < VALUE_MAX ? length : VALUE_MAX;
    while (kept < length && kept > VALUE_MAX - 4 && is_continuation(value[kept]))
        kept--;
    put_text(line, "\"");
    for (size_t i = 0; i < kept;)
        i += put_character(line, value + i);
    put_text(line, kept < length ? "…\"" : "\"");
}

/* In logfmt a value needs quotes unless it consists of these. */
static bool is_plain(const char *value)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/+-";
    size_t length = strlen(value);
    return length > 0 && length <= VALUE_MAX && strspn(value, plain) == length;
}

static void put_value(struct line *line, enum log_format format, const struct log_field *field)
{
    char number[24];
    if (field->text == NULL) {
        snprintf(number, sizeof number, "%lld", (long long)field->number);
        put_text(line, number);
    } else if (format == LOG_FORMAT_TEXT && is_plain(field->text)) {
        put_text(line, field->text);
    } else {
        put_quoted(line, field->text);
    }
}

/* Adds the whole field, or nothing. */
static void put_field(struct line *line, enum log_format format, const struct log_field *field)
{
    size_t before = line->length;
    put_text(line, format == LOG_FORMAT_JSON ? ",\"" : " ");
    put_text(line, field->name);
    put_text(line, format == LOG_FORMAT_JSON ? "\":" : "=");
    put_value(line, format, field);
    if (!line->is_full)
        return;
    line->length = before;
    line->text[before] = '\0';
    line->is_full = false;
}

size_t log_format_line(enum log_format format, enum log_level level, const char *event,
                       const struct log_field *fields, char *text, size_t size)
{
    struct line line = {.text = text, .size = size - 1}; /* room for the end */
    bool is_json = format == LOG_FORMAT_JSON;
    const struct log_field named = log_text("event", event);
    put_text(&line, is_json ? "\"level\":\"" : "level=");
    put_text(&line, log_level_names[level]);
    put_text(&line, is_json ? "\"" : "");
    put_field(&line, format, &named);
    for (; fields->name != NULL; fields++)
        put_field(&line, format, fields);
    line.size = size;
    put_text(&line, is_json ? "}" : "");
    return line.length;
}

/* Writes a whole line, with its date and its end. */
static void format_dated(enum log_level level, const char *event, const struct log_field *fields,
                         char line[LINE_SIZE])
{
    char date[DATE_TEXT_SIZE];
    date_format(clock_wall_ms(), date);
    bool is_json = settings.format == LOG_FORMAT_JSON;
    size_t head = (size_t)snprintf(line, LINE_SIZE, is_json ? "{\"time\":\"%s\"," : "time=%s ",
                                   date);
    size_t length = head + log_format_line(settings.format, level, event, fields, line + head,
                                           LINE_SIZE - head - 1);
    line[length] = '\n';
    line[length + 1] = '\0';
}

static void write_all(const char *text)
{
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* the reader of the log is gone */
        text += written;
        length -= (size_t)written;
    }
}

static enum log_level level_of_yder(unsigned long level)
{
    enum log_level ours = LOG_LEVEL_ERROR;
    while (ours > LOG_LEVEL_DEBUG && yder_levels[ours] != level)
        ours--;
    return ours;
}

/* yder's callback. Broadway's own lines arrive complete, behind the mark; ulfius and orcania log
 * here too, in formats of their own. */
static void write_line(void *context, const char *program, const time_t date,
                       const unsigned long level, const char *message)
{
    (void)context, (void)program, (void)date;
    char line[LINE_SIZE];
    if (message[0] == OWN_MARK) {
        write_all(message + 1);
        return;
    }
    if (level_of_yder(level) < settings.level)
        return;
    format_dated(level_of_yder(level), "library", LOG_FIELDS(log_text("message", message)), line);
    write_all(line);
}

void log_open(const char *program, enum log_level level, enum log_format format)
{
    settings.level = level;
    settings.format = format;
    settings.is_open = y_init_logs(program, Y_LOG_MODE_CALLBACK, Y_LOG_LEVEL_DEBUG, NULL, NULL) ==
                           1 &&
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
    char line[LINE_SIZE];
    if (!settings.is_open || level < settings.level)
        return;
    format_dated(level, event, fields, line);
    y_log_message(yder_levels[level], "%c%s", OWN_MARK, line);
}

void log_event(enum log_level level, const char *event)
{
    static const struct log_field none[] = {{0}};
    log_write(level, event, none);
}
