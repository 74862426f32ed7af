/*
 * request_validation: checks a request before its body is read, regardless of its route: where it
 * ends, and how its path is written. The checks are strict, since a proxy in front may interpret an
 * ambiguous request in another way. Caller: the HTTP server. No state; safe from any thread.
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

/* Whether the head of the request leaves room for the head of an answer in the connection's
 * `memory` (bytes). Otherwise libmicrohttpd can't answer. */
bool request_validation_leaves_room(struct MHD_Connection *connection, size_t memory);

/* The parts of a request's first line, in libmicrohttpd's buffer. */
struct request_line {
    const char *method, *uri, *version;
    size_t uri_length; /* length as sent, up to its first NUL */
};

/* Checks that the request's lines follow one another without a gap. libmicrohttpd ends each text at
 * the first NUL and drops the rest of the line, and joins a folded line to the name of its header;
 * in both cases this server would see another request than a proxy in front. BW_BAD_REQUEST, as for
 * request_validation_framing. (A NUL immediately before the end of a line can't be distinguished
 * from the end: it is ignored.) */
enum bw_code request_validation_lines(struct MHD_Connection *connection,
                                      const struct request_line *line, struct bw_error *error)
    BW_CHECKED;

/* Reads from the headers how the body is delimited. BW_BAD_REQUEST: the request's end is ambiguous,
 * and the connection must be closed after the refusal. */
enum bw_code request_validation_framing(struct MHD_Connection *connection, const char *version,
                                        struct framing *framing, struct bw_error *error) BW_CHECKED;

/* Checks that the path is unambiguous. `uri`: as it was sent, including the query; `path`: decoded.
 * BW_BAD_REQUEST. */
enum bw_code request_validation_path(const char *uri, const char *path, struct bw_error *error)
    BW_CHECKED;

#endif
