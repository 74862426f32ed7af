/*
 * admission: what can be wrong with a request before its body is read, whatever its route: where it
 * ends, and how its path is written. Strict, since a proxy in front may read a doubtful request
 * otherwise. Callers: the front. Safe from any thread.
 */
#ifndef API_ADMISSION_H
#define API_ADMISSION_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* How the body of a request is delimited. */
struct framing {
    bool is_chunked;
    uint64_t length; /* Content-Length; 0 if there is none */
};

static inline bool framing_has_body(const struct framing *framing)
{
    return framing->is_chunked || framing->length > 0;
}

/* Reads the headers. BW_BAD_REQUEST: the request's end is in doubt, and the connection must be
 * closed after the refusal. */
enum bw_code admission_framing(struct MHD_Connection *connection, const char *version,
                               struct framing *framing, struct bw_error *error) BW_CHECKED;

/* Is the path free of what could be read in two ways? `uri` is as it was sent, query included;
 * `path` is decoded. */
enum bw_code admission_path(const char *uri, const char *path, struct bw_error *error) BW_CHECKED;

#endif
