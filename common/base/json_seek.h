/*
 * json_seek: finds the string value of one member of the outermost object in a text that arrives in
 * pieces and is not kept (json_find_text of common/base/json_mend.h, for a stream). The text may be
 * incomplete or invalid, but its first byte after white space must be "{". Pure; a seek belongs to
 * one thread at a time.
 */
#ifndef COMMON_BASE_JSON_SEEK_H
#define COMMON_BASE_JSON_SEEK_H

#include <stdbool.h>
#include <stddef.h>

enum {
    JSON_SEEK_SIZE = 64, /* of a name or a value that can be found, with its NUL */
    JSON_SEEK_WRITTEN_SIZE = 6 *
                             JSON_SEEK_SIZE /* the same in JSON, where each byte may be an escape */
};

struct json_seek {
    const char *name; /* borrowed */
    size_t depth;
    enum { JSON_SEEK_OTHER, JSON_SEEK_NAME, JSON_SEEK_COLON } last; /* token before this one */
    bool in_string, is_escaped, is_kept;                            /* kept: not too long so far */
    size_t length;                                                  /* of the current string */
    char string[JSON_SEEK_WRITTEN_SIZE];
    bool is_found; /* then `string` is the value */
    bool is_over;  /* the search has ended */
};

/* Starts a search for the member `name`, which is borrowed. */
void json_seek_begin(struct json_seek *seek, const char *name);

/* Takes the next piece of the text; what follows the member that was found is ignored. */
void json_seek_take(struct json_seek *seek, const char *text, size_t length);

#endif
