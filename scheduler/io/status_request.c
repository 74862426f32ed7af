#include "scheduler/io/status_request.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { BAD_REQUEST = 400, URI_TOO_LONG = 414, HEAD_TOO_LARGE = 431, VERSION_NOT_SUPPORTED = 505 };

static const char token_marks[] = "!#$%&'*+-.^_`|~";
static const char version_prefix[] = "HTTP/";

struct line {
    const char *text;
    size_t length; /* without the line's end */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool status_request_is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool is_letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
        if (!is_letter && !is_digit(text[i]) &&
            (text[i] == '\0' || strchr(token_marks, text[i]) == NULL))
            return false;
    }
    return length > 0;
}

/* Removes the next line from the start of the text. False: there is no complete line. */
static bool take_line(const char **text, size_t *length, struct line *line)
{
    const char *end = memchr(*text, '\n', *length);
    if (end == NULL)
        return false;
    size_t taken = (size_t)(end - *text) + 1;
    line->text = *text;
    line->length = taken - 1;
    if (line->length > 0 && line->text[line->length - 1] == '\r')
        line->length--;
    *text += taken;
    *length -= taken;
    return true;
}

static void copy_cut(char *to, size_t size, const char *from, size_t length)
{
    size_t copied = length < size - 1 ? length : size - 1;
    memcpy(to, from, copied);
    to[copied] = '\0';
}

/* Reads the path of the request's target; of `http://host/path` only the path. */
static bool read_target(const char *text, size_t length, char path[STATUS_PATH_SIZE])
{
    static const char scheme[] = "http://";
    for (size_t i = 0; i < length; i++)
        if (text[i] < '!' || text[i] > '~')
            return false;
    if (length > sizeof scheme - 1 && strncasecmp(text, scheme, sizeof scheme - 1) == 0) {
        const char *slash = memchr(text + sizeof scheme - 1, '/', length - (sizeof scheme - 1));
        if (slash == NULL)
            return false;
        length -= (size_t)(slash - text);
        text = slash;
    }
    bool is_asterisk = length == 1 && text[0] == '*';
    if (length == 0 || (text[0] != '/' && !is_asterisk))
        return false;
    const char *query = memchr(text, '?', length);
    copy_cut(path, STATUS_PATH_SIZE, text, query != NULL ? (size_t)(query - text) : length);
    return true;
}

static int status_request_read_version(const char *text, size_t length, bool *needs_host)
{
    const size_t digits = sizeof version_prefix - 1;
    if (length != digits + 3 || memcmp(text, version_prefix, digits) != 0 ||
        !is_digit(text[digits]) || text[digits + 1] != '.' || !is_digit(text[digits + 2]))
        return BAD_REQUEST;
    *needs_host = text[digits + 2] != '0';
    return text[digits] == '1' ? STATUS_REQUEST_WHOLE : VERSION_NOT_SUPPORTED;
}

static int read_request_line(const struct line *line, struct status_request *request,
                             bool *needs_host)
{
    const char *end = line->text + line->length;
    const char *target = memchr(line->text, ' ', line->length);
    if (target == NULL || !status_request_is_token(line->text, (size_t)(target - line->text)))
        return BAD_REQUEST;
    copy_cut(request->method, sizeof request->method, line->text, (size_t)(target - line->text));
    target++;
    const char *version = memchr(target, ' ', (size_t)(end - target));
    if (version == NULL || !read_target(target, (size_t)(version - target), request->path))
        return BAD_REQUEST;
    version++;
    return status_request_read_version(version, (size_t)(end - version), needs_host);
}

/* False for a line that continues the previous one, and for one without a name. */
static bool is_header(const struct line *line)
{
    const char *colon = memchr(line->text, ':', line->length);
    return colon != NULL && status_request_is_token(line->text, (size_t)(colon - line->text)) &&
           memchr(line->text, '\0', line->length) == NULL &&
           memchr(line->text, '\r', line->length) == NULL;
}

/* Reads the value of the header `name` (colon included), without blanks around it. False: the line
 * is another header. */
static bool read_value(const struct line *line, const char *name, struct line *value)
{
    size_t length = strlen(name);
    if (line->length < length || strncasecmp(line->text, name, length) != 0)
        return false;
    const char *from = line->text + length, *to = line->text + line->length;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    *value = (struct line){from, (size_t)(to - from)};
    return true;
}

/* Reads the lines after the first one, all of which have been received. */
static int read_headers(const char *text, size_t length, bool needs_host,
                        char host[STATUS_HOST_SIZE])
{
    struct line line, value;
    size_t hosts = 0;
    host[0] = '\0';
    while (take_line(&text, &length, &line) && line.length > 0) {
        if (!is_header(&line))
            return BAD_REQUEST;
        if (!read_value(&line, "host:", &value))
            continue;
        copy_cut(host, STATUS_HOST_SIZE, value.text, value.length);
        hosts++;
    }
    return hosts == 1 || (hosts == 0 && !needs_host) ? STATUS_REQUEST_WHOLE : BAD_REQUEST;
}

void status_request_find_id(const char *text, size_t length, char id[REQUEST_ID_SIZE])
{
    struct line line, value;
    id[0] = '\0';
    while (take_line(&text, &length, &line)) {
        if (!read_value(&line, REQUEST_ID_HEADER ":", &value))
            continue;
        if (value.length >= REQUEST_ID_SIZE || memchr(value.text, '\0', value.length) != NULL)
            return;
        copy_cut(id, REQUEST_ID_SIZE, value.text, value.length);
        if (!request_id_is_sound(id))
            id[0] = '\0';
        return;
    }
}

/* True once the empty line that ends the head was received. */
static bool head_is_complete(const char *text, size_t length)
{
    struct line line;
    while (take_line(&text, &length, &line))
        if (line.length == 0)
            return true;
    return false;
}

int status_request_read(const char *text, size_t length, struct status_request *request)
{
    struct line line;
    bool needs_host = false, is_full = length >= STATUS_HEAD_MAX;
    size_t left = length;
    do {
        if (!take_line(&text, &left, &line))
            return is_full ? URI_TOO_LONG : STATUS_REQUEST_PARTIAL;
    } while (line.length == 0); /* RFC 9112, 2.2: empty lines before a request are ignored */
    if (!head_is_complete(text, left))
        return is_full ? HEAD_TOO_LARGE : STATUS_REQUEST_PARTIAL;
    int status = read_request_line(&line, request, &needs_host);
    return status == STATUS_REQUEST_WHOLE ? read_headers(text, left, needs_host, request->host)
                                          : status;
}
