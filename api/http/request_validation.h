/*
 * request_validation: what can be wrong with a request before its body is read, whatever its route:
 * where it ends, and how its path is written. Strict, since a proxy in front may read a doubtful
 * request otherwise. Callers: the HTTP server. Safe from any thread.
 */
#ifndef API_HTTP_REQUEST_VALIDATION_H
#define API_HTTP_REQUEST_VALIDATION_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

/* How the body of a request is delimited. */
struct framing {
    bool is_chunked;
    bool is_encoded; /* by a Content-Encoding: it can't be read, but its end is known */
    uint64_t length; /* Content-Length; 0 if there is none */
};

static inline bool framing_has_body(const struct framing *framing)
{
    return framing->is_chunked || framing->length > 0;
}

/* Does the head of the request leave room for that of an answer in the connection's `memory`
 * (bytes)? If not, the server can't answer. */
bool request_validation_leaves_room(struct MHD_Connection *connection, size_t memory);

/* Where the server's buffer holds the parts of a request's first line. */
struct request_line {
    const char *method, *uri, *version;
    size_t uri_length; /* as it was sent, up to its first NUL */
};

/* Do the request's lines follow one another without a gap? The server ends each text at the first
 * NUL and drops the rest of the line, and it joins a folded line to the name of its header: either
 * would make us see another request than a proxy in front does. BW_BAD_REQUEST, as for
 * request_validation_framing. (A NUL just before the end of a line can't be told from the end: it
 * is dropped.) */
enum bw_code request_validation_lines(struct MHD_Connection *connection,
                                      const struct request_line *line, struct bw_error *error)
    BW_CHECKED;

/* Reads the headers. BW_BAD_REQUEST: the request's end is in doubt, and the connection must be
 * closed after the refusal. */
enum bw_code request_validation_framing(struct MHD_Connection *connection, const char *version,
                                        struct framing *framing, struct bw_error *error) BW_CHECKED;

/* Is the path free of what could be read in two ways? `uri` is as it was sent, query included;
 * `path` is decoded. */
enum bw_code request_validation_path(const char *uri, const char *path, struct bw_error *error)
    BW_CHECKED;

#endif
