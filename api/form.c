#include "api/form.h"

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

/* Decodes `piece` into `text`, which has room for it and a NUL. BW_BAD_REQUEST: an escape is none,
 * or is %00. */
static enum bw_code decode(struct piece piece, const char *what, char *text, struct bw_error *error)
{
    size_t length = 0;
    for (size_t i = 0; i < piece.length; i++) {
        char c = piece.at[i] == '+' ? ' ' : piece.at[i];
        if (c == '%') {
            int high = i + 1 < piece.length ? hex_value(piece.at[i + 1]) : -1;
            int low = i + 2 < piece.length ? hex_value(piece.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return bw_fail(error, BW_BAD_REQUEST,
                               "%s contains a %% that is not followed by two hex digits", what);
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0')
            return bw_fail(error, BW_BAD_REQUEST, "%s contains a NUL character", what);
        text[length++] = c;
    }
    text[length] = '\0';
    return BW_OK;
}

/* One "name=value", or "name" alone, whose value is empty. */
static enum bw_code read_pair(struct piece pair, const char *what, form_taker *take, void *context,
                              struct bw_error *error)
{
    const char *sign = memchr(pair.at, '=', pair.length);
    struct piece name = {pair.at, sign != NULL ? (size_t)(sign - pair.at) : pair.length};
    struct piece value = {pair.at + pair.length, 0};
    if (sign != NULL)
        value = (struct piece){sign + 1, pair.length - name.length - 1};
    char *texts = malloc(name.length + value.length + 2);
    if (texts == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    char *value_text = texts + name.length + 1;
    enum bw_code code = decode(name, what, texts, error);
    if (code == BW_OK)
        code = decode(value, what, value_text, error);
    if (code == BW_OK)
        code = take(texts, value_text, context, error);
    free(texts);
    return code;
}

enum bw_code form_read_urlencoded(const char *text, size_t length, const char *what,
                                  form_taker *take, void *context, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (const char *end = text + length; code == BW_OK && text < end;) {
        const char *mark = memchr(text, '&', (size_t)(end - text));
        struct piece pair = {text, (size_t)((mark != NULL ? mark : end) - text)};
        if (pair.length > 0)
            code = read_pair(pair, what, take, context, error);
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

/* The value of a parameter of a header, e.g. name in: form-data; name="x". False: it is not there.
 */
static bool find_parameter(struct piece header, const char *name, struct piece *value)
{
    size_t name_length = strlen(name);
    const char *end = header.at + header.length;
    for (const char *at = memchr(header.at, ';', header.length); at != NULL;
         at = memchr(at, ';', (size_t)(end - at))) {
        do
            at++;
        while (at < end && (*at == ' ' || *at == '\t'));
        if ((size_t)(end - at) <= name_length || strncasecmp(at, name, name_length) != 0 ||
            at[name_length] != '=')
            continue;
        at += name_length + 1;
        bool is_quoted = at < end && *at == '"';
        at += is_quoted;
        size_t length = 0;
        while (at + length < end &&
               (is_quoted ? at[length] != '"' : strchr("; \t", at[length]) == NULL))
            length++;
        *value = (struct piece){at, length};
        return !is_quoted || at + length < end;
    }
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

/* Takes what stands before `mark` off the front of *rest, and the mark too. False: there is no such
 * mark. */
static bool split(struct piece *rest, const char *mark, size_t mark_length, struct piece *before)
{
    const char *found = rest->length > 0 ? memmem(rest->at, rest->length, mark, mark_length) : NULL;
    if (found == NULL)
        return false;
    *before = (struct piece){rest->at, (size_t)(found - rest->at)};
    rest->length -= before->length + mark_length;
    rest->at = found + mark_length;
    return true;
}

/* Reads a part's header lines up to the empty one. False: they do not end, or do not name the part.
 */
static bool read_part_headers(struct piece *rest, struct piece *name)
{
    static const char disposition[] = "content-disposition:";
    struct piece line;
    bool is_named = false;
    while (split(rest, "\r\n", 2, &line)) {
        if (line.length == 0)
            return is_named;
        if (line.length >= sizeof disposition - 1 &&
            strncasecmp(line.at, disposition, sizeof disposition - 1) == 0)
            is_named = find_parameter(line, "name", name);
    }
    return false;
}

static enum bw_code take_part(struct piece name, struct piece value, form_taker *take,
                              void *context, struct bw_error *error)
{
    if (name.length > NAME_MAX_LENGTH)
        return bw_fail(error, BW_BAD_REQUEST, "a part of the form has a name that is too long");
    if (memchr(name.at, '\0', name.length) != NULL || memchr(value.at, '\0', value.length) != NULL)
        return bw_fail(error, BW_BAD_REQUEST, "the form contains a NUL character");
    char name_text[NAME_MAX_LENGTH + 1];
    memcpy(name_text, name.at, name.length);
    name_text[name.length] = '\0';
    char *value_text = strndup(value.at, value.length);
    if (value_text == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    enum bw_code code = take(name_text, value_text, context, error);
    free(value_text);
    return code;
}

/* Reads the part that follows a delimiter, up to the next one. False: it is not whole. */
static bool read_part(struct piece *rest, const char *delimiter, struct piece *name,
                      struct piece *value)
{
    struct piece padding;
    return split(rest, "\r\n", 2, &padding) && read_part_headers(rest, name) &&
           split(rest, delimiter, strlen(delimiter), value);
}

/* Takes the first delimiter and what stands before it; at the very start the delimiter has no line
 * break. */
static bool skip_preamble(struct piece *rest, const char *delimiter)
{
    struct piece preamble;
    size_t length = strlen(delimiter) - 2;
    if (rest->length < length || memcmp(rest->at, delimiter + 2, length) != 0)
        return split(rest, delimiter, length + 2, &preamble);
    *rest = (struct piece){rest->at + length, rest->length - length};
    return true;
}

enum bw_code form_read_multipart(const char *content_type, const char *body, size_t length,
                                 form_taker *take, void *context, struct bw_error *error)
{
    char delimiter[DELIMITER_SIZE];
    if (!find_delimiter(content_type, delimiter))
        return bw_fail(error, BW_BAD_REQUEST,
                       "the content type multipart/form-data names no boundary");
    struct piece rest = {body, length}, name, value;
    bool is_whole = skip_preamble(&rest, delimiter);
    while (is_whole && (rest.length < 2 || memcmp(rest.at, "--", 2) != 0)) {
        is_whole = read_part(&rest, delimiter, &name, &value);
        enum bw_code code = is_whole ? take_part(name, value, take, context, error) : BW_OK;
        if (code != BW_OK)
            return code;
    }
    return is_whole ? BW_OK : bw_fail(error, BW_BAD_REQUEST, "the multipart form is not whole");
}
