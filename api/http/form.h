/*
 * form: parses query strings and form bodies, urlencoded or multipart, regardless of the arguments'
 * meaning. With a report of repairs, as for results, invalid text is repaired instead of refused.
 * Pure: no state, safe from any thread.
 */
#ifndef API_HTTP_FORM_H
#define API_HTTP_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/base/json_mend.h"

/* Called for each argument, in order. Both texts are without NUL but need not be UTF-8; they are
 * valid during the call. Any code but BW_OK ends the parsing, and is its result. */
typedef enum bw_code form_taker(const char *name, const char *value, void *context,
                                struct bw_error *error);

/* "a=1&b=x+y%21". `what` names the text in sentences. BW_BAD_REQUEST: an invalid escape, or %00.
 * With `mended`, an invalid escape is kept as text, %00 is dropped, and both are counted.
 * BW_INTERNAL: out of memory. */
enum bw_code form_read_urlencoded(const char *text, size_t length, const char *what,
                                  form_taker *take, void *context, struct json_mend_report *mended,
                                  struct bw_error *error) BW_CHECKED;

/* Whether this is the content type of a multipart form. False for NULL. */
bool is_multipart(const char *content_type);

/* Parses a body of that content type. File names and the types of parts are ignored.
 * BW_BAD_REQUEST: the form is incomplete, or contains NUL; with `mended`, NULs in values are
 * dropped and counted. BW_INTERNAL: out of memory. */
enum bw_code form_read_multipart(const char *content_type, const char *body, size_t length,
                                 form_taker *take, void *context, struct json_mend_report *mended,
                                 struct bw_error *error) BW_CHECKED;

#endif
