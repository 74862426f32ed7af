#include "scheduler/io/status_request.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { BAD_REQUEST = 400, URI_TOO_LONG = 414, HEAD_TOO_LARGE = 431, VERSION_NOT_SUPPORTED = 505 };

static const char token_marks[] = "!#$%&'*+-.^_`|~";
static const char version_prefix[] = "HTTP/";

struct line {
    const char *text;
    size_t length; /* without its end */
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

/* Takes the next line off the text. False: there is no whole one. */
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

/* What stands in front of the path in `http://host/path` is left out. */
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

/* A line that goes on the one before it, or has no name, is refused. */
static bool is_header(const struct line *line)
{
    const char *colon = memchr(line->text, ':', line->length);
    return colon != NULL && status_request_is_token(line->text, (size_t)(colon - line->text)) &&
           memchr(line->text, '\0', line->length) == NULL &&
           memchr(line->text, '\r', line->length) == NULL;
}

static bool is_host(const struct line *line)
{
    static const char name[] = "host:";
    return line->length >= sizeof name - 1 && strncasecmp(line->text, name, sizeof name - 1) == 0;
}

/* The lines behind the first one, all of which have come. */
static int read_headers(const char *text, size_t length, bool needs_host)
{
    struct line line;
    size_t hosts = 0;
    while (take_line(&text, &length, &line) && line.length > 0) {
        if (!is_header(&line))
            return BAD_REQUEST;
        hosts += is_host(&line);
    }
    return hosts == 1 || (hosts == 0 && !needs_host) ? STATUS_REQUEST_WHOLE : BAD_REQUEST;
}

void status_request_find_id(const char *text, size_t length, char id[REQUEST_ID_SIZE])
{
    static const char name[] = REQUEST_ID_HEADER ":";
    const size_t name_length = sizeof name - 1;
    struct line line;
    id[0] = '\0';
    while (take_line(&text, &length, &line)) {
        if (line.length < name_length || strncasecmp(line.text, name, name_length) != 0)
            continue;
        const char *from = line.text + name_length, *to = line.text + line.length;
        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if (to - from >= REQUEST_ID_SIZE || memchr(from, '\0', (size_t)(to - from)) != NULL)
            return;
        copy_cut(id, REQUEST_ID_SIZE, from, (size_t)(to - from));
        if (!request_id_is_sound(id))
            id[0] = '\0';
        return;
    }
}

/* Has the empty line come that ends a head? */
static bool has_end(const char *text, size_t length)
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
    } while (line.length == 0); /* empty lines in front of a request are to be overlooked */
    if (!has_end(text, left))
        return is_full ? HEAD_TOO_LARGE : STATUS_REQUEST_PARTIAL;
    int status = read_request_line(&line, request, &needs_host);
    return status == STATUS_REQUEST_WHOLE ? read_headers(text, left, needs_host) : status;
}
