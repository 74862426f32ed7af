/*
 * form: takes apart query strings and form bodies, urlencoded or multipart. Knows nothing of what
 * the arguments mean. Where a report is given, as for results, what would be refused is mended.
 * Pure: no state, safe from any thread.
 */
#ifndef API_HTTP_FORM_H
#define API_HTTP_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json_mend.h"

/* Called for each argument, in the order written. Both texts are free of NUL but need not be UTF-8;
 * they are valid during the call. Anything but BW_OK ends the parsing, and is its result. */
typedef enum bw_code form_taker(const char *name, const char *value, void *context,
                                struct bw_error *error);

/* "a=1&b=x+y%21". `what` names the text in sentences. BW_BAD_REQUEST: an escape that is none, or
 * %00; with `mended` the one stays as it is, the other is dropped, and both are counted. */
enum bw_code form_read_urlencoded(const char *text, size_t length, const char *what,
                                  form_taker *take, void *context, struct json_mend_report *mended,
                                  struct bw_error *error) BW_CHECKED;

/* Is this the content type of a multipart form? NULL is not. */
bool is_multipart(const char *content_type);

/* A body of that content type. File names and the types of parts are ignored. BW_BAD_REQUEST: it is
 * not whole, or contains NUL, which with `mended` is dropped in values. */
enum bw_code form_read_multipart(const char *content_type, const char *body, size_t length,
                                 form_taker *take, void *context, struct json_mend_report *mended,
                                 struct bw_error *error) BW_CHECKED;

#endif
