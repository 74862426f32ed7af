#include "api/http/form.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70, DELIMITER_SIZE = 4 + BOUNDARY_MAX + 1, NAME_MAX_LENGTH = 255 };

/* A piece of a text. */
struct piece {
    const char *at;
    size_t length;
};

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* The arguments of one call, for all parts of the form. */
struct form {
    const char *what; /* the text's name in sentences */
    form_taker *take;
    void *context;
    struct json_mend_report *mended; /* NULL: nothing is repaired */
};

/* Counts a repair, or refuses the text if there is no report. */
static enum bw_code form_mend(const struct form *form, enum json_mend kind, const char *trouble,
                              struct bw_error *error)
{
    if (form->mended == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "%s contains %s", form->what, trouble);
    form->mended->counts[kind]++;
    return BW_OK;
}

/* The character of the escape %XX at `at`; -1: it is invalid. */
static int escape_value(struct piece piece, size_t at)
{
    int high = at + 1 < piece.length ? hex_value(piece.at[at + 1]) : -1;
    int low = at + 2 < piece.length ? hex_value(piece.at[at + 2]) : -1;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Decodes `piece` into `text`, which has room for it and a NUL. BW_BAD_REQUEST: an invalid escape,
 * or %00. */
static enum bw_code form_decode(const struct form *form, struct piece piece, char *text,
                                struct bw_error *error)
{
    enum bw_code code = BW_OK;
    size_t length = 0;
    for (size_t i = 0; i < piece.length && code == BW_OK; i++) {
        char c = piece.at[i] == '+' ? ' ' : piece.at[i];
        int value = c == '%' ? escape_value(piece, i) : -1;
        if (c == '%' && value < 0)
            code = form_mend(form, JSON_MEND_ESCAPES, "a % that is not followed by two hex digits",
                             error);
        if (value >= 0) {
            c = (char)value;
            i += 2;
        }
        if (c == '\0')
            code = form_mend(form, JSON_MEND_NULS, "a NUL character", error);
        else
            text[length++] = c;
    }
    text[length] = '\0';
    return code;
}

/* Reads one "name=value", or "name" with an empty value. */
static enum bw_code read_pair(const struct form *form, struct piece pair, struct bw_error *error)
{
    const char *sign = memchr(pair.at, '=', pair.length);
    struct piece name = {pair.at, sign != NULL ? (size_t)(sign - pair.at) : pair.length};
    struct piece value = {pair.at + pair.length, 0};
    if (sign != NULL)
        value = (struct piece){sign + 1, pair.length - name.length - 1};
    char *texts = malloc(name.length + value.length + 2); /* the sizes are the sender's */
    if (texts == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    char *value_text = texts + name.length + 1;
    enum bw_code code = form_decode(form, name, texts, error);
    if (code == BW_OK)
        code = form_decode(form, value, value_text, error);
    if (code == BW_OK)
        code = form->take(texts, value_text, form->context, error);
    free(texts);
    return code;
}

enum bw_code form_read_urlencoded(const char *text, size_t length, const char *what,
                                  form_taker *take, void *context, struct json_mend_report *mended,
                                  struct bw_error *error)
{
    const struct form form = {what, take, context, mended};
    enum bw_code code = BW_OK;
    for (const char *end = text + length; code == BW_OK && text < end;) {
        const char *mark = memchr(text, '&', (size_t)(end - text));
        struct piece pair = {text, (size_t)((mark != NULL ? mark : end) - text)};
        if (pair.length > 0)
            code = read_pair(&form, pair, error);
        text += pair.length + 1;
    }
    return code;
}

/* ---- Multipart ---- */

static const char multipart[] = "multipart/form-data";

bool is_multipart(const char *content_type)
{
    size_t length = sizeof multipart - 1;
    return content_type != NULL && strncasecmp(content_type, multipart, length) == 0 &&
           (content_type[length] == '\0' || strchr("; \t", content_type[length]) != NULL);
}

/* The end of the value that begins at `at`: after its closing quote, or before the next ";" or
 * blank. In quotes a backslash escapes the next character, except letters and digits, since old
 * browsers sent file paths unescaped. */
static const char *value_end(const char *at, const char *end)
{
    if (at >= end || *at != '"') {
        while (at < end && memchr("; \t", *at, 3) == NULL)
            at++;
        return at;
    }
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end && (at[1] == '"' || at[1] == '\\'))
            at++;
    return at < end ? at + 1 : end;
}

/* Reads the next parameter of a header, after a ";": name=value, with the value as it is written.
 * False: there is none. */
static bool next_parameter(const char **at, const char *end, struct piece *name,
                           struct piece *value)
{
    while (*at < end && memchr("; \t", **at, 3) != NULL)
        ++*at;
    const char *start = *at;
    while (*at < end && memchr("=;", **at, 2) == NULL)
        ++*at;
    *name = (struct piece){start, (size_t)(*at - start)};
    *value = (struct piece){*at, 0};
    if (start == end)
        return false;
    if (*at == end || **at == ';')
        return true;
    start = *at + 1;
    *at = value_end(start, end);
    *value = (struct piece){start, (size_t)(*at - start)};
    return true;
}

/* Removes the quotes. False: the closing quote is missing. */
static bool piece_unquote(struct piece *value)
{
    if (value->length == 0 || value->at[0] != '"')
        return true;
    if (value->length < 2 || value->at[value->length - 1] != '"')
        return false;
    *value = (struct piece){value->at + 1, value->length - 2};
    return true;
}

/* Finds the value of a header's parameter, e.g. name in: form-data; name="x". False: it is not
 * there. */
static bool find_parameter(struct piece header, const char *name, struct piece *value)
{
    const char *end = header.at + header.length;
    const char *at = memchr(header.at, ';', header.length);
    struct piece found;
    while (at != NULL && next_parameter(&at, end, &found, value))
        if (found.length == strlen(name) && strncasecmp(found.at, name, found.length) == 0)
            return piece_unquote(value);
    return false;
}

/* Writes "\r\n--" and the boundary. */
static bool find_delimiter(const char *content_type, char delimiter[DELIMITER_SIZE])
{
    struct piece boundary;
    if (!find_parameter((struct piece){content_type, strlen(content_type)}, "boundary",
                        &boundary) ||
        boundary.length == 0 || boundary.length > BOUNDARY_MAX)
        return false;
    memcpy(delimiter, "\r\n--", 4);
    memcpy(delimiter + 4, boundary.at, boundary.length);
    delimiter[4 + boundary.length] = '\0';
    return true;
}

/* Splits *rest at the first `mark`: *before gets the text before it, *rest the text after it.
 * False: there is no mark. */
static bool piece_split(struct piece *rest, const char *mark, size_t mark_length,
                        struct piece *before)
{
    const char *found = rest->length > 0 ? memmem(rest->at, rest->length, mark, mark_length) : NULL;
    if (found == NULL)
        return false;
    *before = (struct piece){rest->at, (size_t)(found - rest->at)};
    rest->length -= before->length + mark_length;
    rest->at = found + mark_length;
    return true;
}

/* Reads a part's header lines up to the empty one. False: they do not end, or lack the part's
 * name. */
static bool read_part_headers(struct piece *rest, struct piece *name)
{
    static const char disposition[] = "content-disposition:";
    struct piece line;
    bool is_named = false;
    while (piece_split(rest, "\r\n", 2, &line)) {
        if (line.length == 0)
            return is_named;
        if (line.length >= sizeof disposition - 1 &&
            strncasecmp(line.at, disposition, sizeof disposition - 1) == 0)
            is_named = find_parameter(line, "name", name);
    }
    return false;
}

/* A copy without NULs, which are counted. New, free(); NULL: out of memory (senders decide its
 * size). */
static char *copy_value(struct piece value, struct json_mend_report *mended)
{
    char *text = malloc(value.length + 1);
    size_t length = 0;
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] != '\0')
            text[length++] = value.at[i];
        else
            mended->counts[JSON_MEND_NULS]++;
    }
    text[length] = '\0';
    return text;
}

static enum bw_code form_take_part(const struct form *form, struct piece name, struct piece value,
                                   struct bw_error *error)
{
    if (name.length > NAME_MAX_LENGTH)
        return bw_fail(error, BW_BAD_REQUEST, "a part of the form has a name that is too long");
    bool is_mended = form->mended != NULL;
    if (memchr(name.at, '\0', name.length) != NULL ||
        (!is_mended && memchr(value.at, '\0', value.length) != NULL))
        return bw_fail(error, BW_BAD_REQUEST, "the form contains a NUL character");
    char name_text[NAME_MAX_LENGTH + 1];
    memcpy(name_text, name.at, name.length);
    name_text[name.length] = '\0';
    char *value_text = is_mended ? copy_value(value, form->mended)
                                 : strndup(value.at, value.length);
    if (value_text == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    enum bw_code code = form->take(name_text, value_text, form->context, error);
    free(value_text);
    return code;
}

/* Reads the part that follows a delimiter, up to the next one. False: the part is incomplete. */
static bool read_part(struct piece *rest, const char *delimiter, struct piece *name,
                      struct piece *value)
{
    struct piece padding;
    return piece_split(rest, "\r\n", 2, &padding) && read_part_headers(rest, name) &&
           piece_split(rest, delimiter, strlen(delimiter), value);
}

/* Skips the first delimiter and the text before it. At the very beginning the delimiter has no line
 * break. */
static bool skip_preamble(struct piece *rest, const char *delimiter)
{
    struct piece preamble;
    size_t length = strlen(delimiter) - 2;
    if (rest->length < length || memcmp(rest->at, delimiter + 2, length) != 0)
        return piece_split(rest, delimiter, length + 2, &preamble);
    *rest = (struct piece){rest->at + length, rest->length - length};
    return true;
}

enum bw_code form_read_multipart(const char *content_type, const char *body, size_t length,
                                 form_taker *take, void *context, struct json_mend_report *mended,
                                 struct bw_error *error)
{
    const struct form form = {"the form", take, context, mended};
    char delimiter[DELIMITER_SIZE];
    if (!find_delimiter(content_type, delimiter))
        return bw_fail(error, BW_BAD_REQUEST,
                       "the content type multipart/form-data names no boundary");
    struct piece rest = {body, length}, name, value;
    bool is_whole = skip_preamble(&rest, delimiter);
    while (is_whole && (rest.length < 2 || memcmp(rest.at, "--", 2) != 0)) {
        is_whole = read_part(&rest, delimiter, &name, &value);
        enum bw_code code = is_whole ? form_take_part(&form, name, value, error) : BW_OK;
        if (code != BW_OK)
            return code;
    }
    return is_whole ? BW_OK : bw_fail(error, BW_BAD_REQUEST, "the multipart form is incomplete");
}
