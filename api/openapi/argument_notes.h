/*
 * argument_notes: what the OpenAPI document says of an argument that its field lacks: a sentence,
 * and the form that the field's check demands. One row for each argument, by name and kind; several
 * where it means different things on different paths. Callers: schemas. Pure; safe from any thread.
 */
#ifndef API_OPENAPI_ARGUMENT_NOTES_H
#define API_OPENAPI_ARGUMENT_NOTES_H

#include "common/base/json.h"

enum { ARGUMENT_WORDS = 9 };

struct argument_note {
    const char *name;
    enum json_kind kind;
    const char *description;
    const char *pattern;               /* a regular expression; NULL: none */
    const char *words[ARGUMENT_WORDS]; /* all allowed values; ends with NULL; none: any value */
    const char *path;                  /* what a route's path has in it; NULL: any path */
};

/* The rows; ends with a row whose name is NULL. */
extern const struct argument_note argument_notes[];

/* The first row of a field of a route with this path, or NULL. */
const struct argument_note *argument_note_find(const struct json_field *field, const char *path);

#endif
