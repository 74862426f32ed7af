#include "api/http/request_validation.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum seen {
    SEEN_LENGTH,
    SEEN_ENCODING,
    SEEN_HOST,
    SEEN_AUTHORIZATION,
    SEEN_CONTENT_ENCODING,
    SEEN_CONTENT_TYPE,
    SEEN_ORIGIN,
    SEEN_IDEMPOTENCY_KEY,
    SEEN_COUNT
};

/* Headers that must not be repeated, since only the first one would be read. */
static const char *const seen_names[SEEN_COUNT] = {
    [SEEN_LENGTH] = "Content-Length",
    [SEEN_ENCODING] = "Transfer-Encoding",
    [SEEN_HOST] = "Host",
    [SEEN_AUTHORIZATION] = "Authorization",
    [SEEN_CONTENT_ENCODING] = "Content-Encoding",
    [SEEN_CONTENT_TYPE] = "Content-Type",
    [SEEN_ORIGIN] = "Origin",
    [SEEN_IDEMPOTENCY_KEY] = "Idempotency-Key",
};

struct headers {
    const char *values[SEEN_COUNT]; /* of the first one */
    int counts[SEEN_COUNT];
    bool has_strange_name;
};

static bool request_validation_is_token(const char *name)
{
    static const char characters[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t length = strlen(name);
    return length > 0 && strspn(name, characters) == length;
}

static enum MHD_Result note_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct headers *headers = context;
    (void)kind;
    headers->has_strange_name |= !request_validation_is_token(name);
    for (int i = 0; i < SEEN_COUNT; i++) {
        if (strcasecmp(name, seen_names[i]) != 0)
            continue;
        if (headers->counts[i]++ == 0)
            headers->values[i] = value != NULL ? value : "";
    }
    return MHD_YES;
}

static bool read_length(const char *text, uint64_t *length)
{
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
        return false;
    errno = 0;
    *length = strtoull(text, NULL, 10);
    return errno == 0;
}

static enum bw_code check_headers(const struct headers *headers, bool is_version_1_1,
                                  struct bw_error *error)
{
    const char *encoding = headers->values[SEEN_ENCODING];
    if (headers->has_strange_name)
        return bw_fail(error, BW_BAD_REQUEST,
                       "a header's name contains a character that it must not contain");
    for (int i = 0; i < SEEN_COUNT; i++)
        if (headers->counts[i] > 1)
            return bw_fail(error, BW_BAD_REQUEST, "the header %s is there %d times", seen_names[i],
                           headers->counts[i]);
    if (headers->counts[SEEN_HOST] == 0 && is_version_1_1)
        return bw_fail(error, BW_BAD_REQUEST, "the header Host is missing");
    if (encoding != NULL && headers->counts[SEEN_LENGTH] > 0)
        return bw_fail(error, BW_BAD_REQUEST,
                       "the request has a Content-Length and a Transfer-Encoding");
    if (encoding != NULL && (!is_version_1_1 || strcasecmp(encoding, "chunked") != 0))
        return bw_fail(error, BW_BAD_REQUEST, "the only supported Transfer-Encoding is chunked");
    return BW_OK;
}

/* ---- The lines in libmicrohttpd's buffer ---- */

enum {
    CR_LF = 2,
    HEADER_BYTES = 64, /* memory that libmicrohttpd uses for each header, besides its text */
    ANSWER_BYTES = 640 /* memory for the head of an answer */
};

bool request_validation_leaves_room(struct MHD_Connection *connection, size_t memory)
{
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int count = MHD_get_connection_values(connection, MHD_HEADER_KIND, NULL, NULL) +
                MHD_get_connection_values(connection, MHD_COOKIE_KIND, NULL, NULL);
    const char *cookie = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Cookie");
    size_t used = size != NULL ? size->header_size : 0;
    used += (size_t)count * HEADER_BYTES + (cookie != NULL ? strlen(cookie) : 0);
    return used + ANSWER_BYTES <= memory;
}

/* The position in the lines. */
struct lines {
    const char *end; /* end of the last text, where libmicrohttpd has replaced CR LF or LF by NUL */
    bool has_gap;
};

static bool is_line_end(const char *end, const char *next)
{
    return next == end + 1 || next == end + CR_LF;
}

static enum MHD_Result follow_header(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    struct lines *lines = context;
    (void)kind;
    const char *colon = name + strlen(name);
    lines->has_gap |= !is_line_end(lines->end, name) || value == NULL || value <= colon ||
                      strspn(colon + 1, " \t") != (size_t)(value - colon - 1);
    if (!lines->has_gap)
        lines->end = value + strlen(value);
    return lines->has_gap ? MHD_NO : MHD_YES;
}

/* Whether there are only spaces between the method, the URI and the version. */
static bool is_whole_line(const struct request_line *line)
{
    const char *method_end = line->method + strlen(line->method);
    return line->uri > method_end && line->version == line->uri + line->uri_length + 1 &&
           strspn(method_end + 1, " ") >= (size_t)(line->uri - method_end - 1);
}

enum bw_code request_validation_lines(struct MHD_Connection *connection,
                                      const struct request_line *line, struct bw_error *error)
{
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct lines lines = {.end = line->version + strlen(line->version)};
    if (!is_whole_line(line))
        return bw_fail(error, BW_BAD_REQUEST, "the request's first line contains a NUL byte");
    MHD_get_connection_values(connection, MHD_HEADER_KIND, follow_header, &lines);
    const char *end = size != NULL ? line->method + size->header_size : lines.end;
    if (lines.has_gap || end < lines.end + 2 || end > lines.end + 2 * CR_LF)
        return bw_fail(error, BW_BAD_REQUEST, "a header contains a NUL byte or a folded line");
    return BW_OK;
}

/* ---- The headers and the path ---- */

enum bw_code request_validation_framing(struct MHD_Connection *connection, const char *version,
                                        struct framing *framing, struct bw_error *error)
{
    struct headers headers = {.has_strange_name = false};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, note_header, &headers);
    enum bw_code code = check_headers(&headers, strcmp(version, MHD_HTTP_VERSION_1_0) != 0, error);
    if (code != BW_OK)
        return code;
    uint64_t length = 0;
    if (headers.values[SEEN_LENGTH] != NULL && !read_length(headers.values[SEEN_LENGTH], &length))
        return bw_fail(error, BW_BAD_REQUEST, "the Content-Length is not a number");
    const char *content = headers.values[SEEN_CONTENT_ENCODING];
    *framing = (struct framing){.is_chunked = headers.values[SEEN_ENCODING] != NULL,
                                .is_encoded = content != NULL &&
                                              strcasecmp(content, "identity") != 0,
                                .length = length};
    return BW_OK;
}

static bool is_utf8(const char *text)
{
    json_auto_t *value = json_string(text);
    return value != NULL;
}

enum bw_code request_validation_path(const char *uri, const char *path, struct bw_error *error)
{
    static const char *const doubtful[] = {"%00", "%2f", "%5c"};
    size_t length = strcspn(uri, "?");
    for (size_t i = 0; i + 2 < length; i++)
        for (size_t k = 0; k < sizeof doubtful / sizeof *doubtful; k++)
            if (strncasecmp(uri + i, doubtful[k], 3) == 0)
                return bw_fail(error, BW_BAD_REQUEST, "the path contains %s", doubtful[k]);
    if (!is_utf8(path))
        return bw_fail(error, BW_BAD_REQUEST, "the path is not UTF-8");
    return BW_OK;
}
