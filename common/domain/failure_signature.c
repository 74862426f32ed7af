#include "common/domain/failure_signature.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/secret.h"
#include "common/domain/job.h"

enum {
    LAST_LINES = 3,
    LAST_BYTES = 4096,
    LEAST_HEX = 4,      /* a word of this many hex digits, one of them 0-9, is a number */
    LEAST_HEX_WORD = 8, /* the same without any digit 0-9: "deadbeef" */
    MARK_NUMBER = '#',  /* stands for a number */
    MARK_PATH = '/',    /* stands for a path */
    SHOWN_NUMBER_SIZE = 32
};

/* ---- Lines without what differs from job to job ---- */

/* Text that is written into a buffer of sufficient size: no replacement is longer than what it
 * replaces. */
struct normal_text {
    char *bytes;
    size_t length;
};

static void normal_text_add(struct normal_text *text, char byte)
{
    text->bytes[text->length++] = byte;
}

static char normal_text_last(const struct normal_text *text)
{
    return text->length > 0 ? text->bytes[text->length - 1] : '\n';
}

/* Ends a token, a number or a path. */
static bool signature_is_delimiter(char byte)
{
    return strchr(" \t\r\n:\"'`(),;<>[]{}=", byte) != NULL;
}

static bool signature_is_word(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_';
}

/* Whether the word is a number in hex. */
static bool signature_is_hex(const char *word, size_t length)
{
    size_t digits = 0;
    if (length > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X'))
        return true;
    for (size_t i = 0; i < length; i++) {
        if (!isxdigit((unsigned char)word[i]))
            return false;
        digits += isdigit((unsigned char)word[i]) != 0;
    }
    return length >= (digits > 0 ? LEAST_HEX : LEAST_HEX_WORD);
}

/* Adds a number: "12.5" and "12:30:00" are one, "-3" is as "3". */
static void normal_text_add_number(struct normal_text *text)
{
    size_t length = text->length;
    if (length >= 2 && strchr(".:,", text->bytes[length - 1]) != NULL &&
        text->bytes[length - 2] == MARK_NUMBER) {
        text->length--;
        return;
    }
    if (length >= 1 && text->bytes[length - 1] == '-' &&
        (length == 1 || signature_is_delimiter(text->bytes[length - 2])))
        text->length--;
    normal_text_add(text, MARK_NUMBER);
}

static void normal_text_add_word(struct normal_text *text, const char *word, size_t length)
{
    if (signature_is_hex(word, length)) {
        normal_text_add_number(text);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)word[i]))
            normal_text_add(text, word[i]);
        else if (i == 0 || !isdigit((unsigned char)word[i - 1]))
            normal_text_add_number(text);
    }
}

static void normal_text_add_token(struct normal_text *text, const char *token, size_t length)
{
    if (memchr(token, '/', length) != NULL || memchr(token, '\\', length) != NULL) {
        normal_text_add(text, MARK_PATH);
        return;
    }
    for (size_t at = 0; at < length;) {
        size_t end = at;
        while (end < length && signature_is_word(token[end]))
            end++;
        if (end > at)
            normal_text_add_word(text, token + at, end - at);
        else
            normal_text_add(text, token[end++]);
        at = end;
    }
}

/* The length of a terminal's control sequence (ESC [ ... letter) at the beginning; 0: there is
 * none. */
static size_t signature_control_length(const char *at, const char *end)
{
    const char *start = at;
    if (end - at < 3 || at[0] != '\033' || at[1] != '[')
        return 0;
    at += 2;
    while (at < end && !isalpha((unsigned char)*at))
        at++;
    return at < end ? (size_t)(at - start) + 1 : 0;
}

/* Adds a line, with one blank for each run of them, and none at its ends. */
static void normal_text_add_line(struct normal_text *text, const char *at, const char *end)
{
    while (at < end) {
        size_t control = signature_control_length(at, end);
        const char *token = at + control;
        at = token;
        while (at < end && *at != '\033' && !signature_is_delimiter(*at))
            at++;
        if (at > token)
            normal_text_add_token(text, token, (size_t)(at - token));
        else if (at < end && control == 0) {
            bool is_blank = isspace((unsigned char)*at) || *at == '\033';
            char last = normal_text_last(text);
            if (!is_blank || (last != ' ' && last != '\n'))
                normal_text_add(text, is_blank ? ' ' : *at);
            at++;
        }
    }
    while (normal_text_last(text) == ' ')
        text->length--;
    normal_text_add(text, '\n');
}

/* ---- The last lines ---- */

static bool signature_is_blank(const char *line, const char *end)
{
    while (line < end && isspace((unsigned char)*line))
        line++;
    return line == end;
}

/* The beginning of the last LAST_LINES lines that are not blank. */
static const char *signature_find_lines(const char *text, const char *end)
{
    const char *start = end, *line_end = end;
    for (unsigned found = 0; found < LAST_LINES && line_end > text;) {
        const char *line = line_end;
        while (line > text && line[-1] != '\n')
            line--;
        if (!signature_is_blank(line, line_end)) {
            found++;
            start = line;
        }
        line_end = line > text ? line - 1 : text;
    }
    return start;
}

char *failure_signature_lines(const char *text, size_t length)
{
    const char *end = text + length;
    const char *at = signature_find_lines(length > LAST_BYTES ? end - LAST_BYTES : text, end);
    struct normal_text normal = {.bytes = bw_alloc((size_t)(end - at) + 2)};
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL)
            line_end = end;
        if (!signature_is_blank(at, line_end))
            normal_text_add_line(&normal, at, line_end);
        at = line_end < end ? line_end + 1 : end;
    }
    normal.bytes[normal.length] = '\0';
    return normal.bytes;
}

/* ---- The stage that failed ---- */

static bool signature_is_report(const json_t *value)
{
    return json_object_get(value, "exit_code") != NULL || json_object_get(value, "error") != NULL;
}

/* The list of the stages' reports: the result's `stages`; in a list of results, those of the first
 * one; or the list itself. NULL: there is none. */
static const json_t *signature_find_stages(const json_t *result)
{
    const json_t *first = json_array_get(result, 0);
    const json_t *stages = json_object_get(json_is_array(result) ? first : result, "stages");
    if (json_is_array(stages))
        return stages;
    return signature_is_report(first) ? result : NULL;
}

const json_t *failure_signature_report(const json_t *result, size_t *place)
{
    const json_t *stages = signature_find_stages(result);
    size_t count = json_array_size(stages);
    const json_t *last = count > 0 ? json_array_get(stages, count - 1) : NULL;
    *place = count;
    return signature_is_report(last) ? last : NULL;
}

/* ---- The hash ---- */

/* A string of an object; NULL: there is none, or it is empty. */
static const json_t *signature_find_text(const json_t *object, const char *name)
{
    const json_t *text = json_object_get(object, name);
    return json_string_length(text) > 0 ? text : NULL;
}

static const json_t *signature_find_output(const json_t *object)
{
    const json_t *text = signature_find_text(object, "stderr");
    return text != NULL ? text : signature_find_text(object, "stdout");
}

/* The lines of a string (NULL: ""). New text. */
static char *signature_string_lines(const json_t *string)
{
    const char *text = json_string_value(string);
    return failure_signature_lines(text != NULL ? text : "", json_string_length(string));
}

/* The lines of a result that is not a report. New text. */
static char *signature_value_lines(const json_t *result)
{
    if (result == NULL || json_is_string(result))
        return signature_string_lines(result);
    char *text = json_dumps(result, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    char *lines = failure_signature_lines(text != NULL ? text : "",
                                          text != NULL ? strlen(text) : 0);
    free(text);
    return lines;
}

static char *signature_lines(const json_t *report, const json_t *result, const json_t *logs)
{
    const json_t *output = signature_find_output(report);
    if (output == NULL && (report == NULL || signature_find_text(report, "error") == NULL))
        output = signature_find_output(logs);
    if (output != NULL || report != NULL)
        return signature_string_lines(output);
    return signature_value_lines(result);
}

static void signature_show_number(const json_t *report, const char *name,
                                  char shown[SHOWN_NUMBER_SIZE])
{
    const json_t *value = json_object_get(report, name);
    shown[0] = '\0';
    if (json_is_integer(value))
        snprintf(shown, SHOWN_NUMBER_SIZE, "%lld", (long long)json_integer_value(value));
    else if (json_is_true(value))
        snprintf(shown, SHOWN_NUMBER_SIZE, "true");
}

void failure_signature_make(const json_t *result, const json_t *logs,
                            char signature[SIGNATURE_SIZE])
{
    static const char *const facts[] = {"exit_code", "signal", "timed_out", "oom_killed"};
    enum { FACTS = sizeof facts / sizeof *facts, PARTS = FACTS + 3 };
    char numbers[FACTS][SHOWN_NUMBER_SIZE], place_text[SHOWN_NUMBER_SIZE] = "",
                                            digest[SHA256_TEXT_SIZE];
    size_t place;
    const json_t *report = failure_signature_report(result, &place);
    char *lines = signature_lines(report, result, logs);
    char *sentence = signature_string_lines(json_object_get(report, "error"));
    if (report != NULL)
        snprintf(place_text, sizeof place_text, "%zu", place);
    struct digest_part parts[PARTS] = {
        {place_text, strlen(place_text)}, {lines, strlen(lines)}, {sentence, strlen(sentence)}};
    for (size_t i = 0; i < FACTS; i++) {
        signature_show_number(report, facts[i], numbers[i]);
        parts[3 + i] = (struct digest_part){numbers[i], strlen(numbers[i])};
    }
    secret_digest(parts, PARTS, digest);
    snprintf(signature, SIGNATURE_SIZE, "%.*s", (int)SIGNATURE_LENGTH, digest);
    free(lines);
    free(sentence);
}

bool is_failure_signature(const char *text)
{
    return is_hex_id(text, SIGNATURE_LENGTH);
}
