/*
 * json_seek: json_find_text (common/base/json_mend.h) over a text that comes in pieces and is not
 * kept: the string that a member of the outermost object has, wherever it stands. The text need not
 * be whole or valid. Pure; a seek belongs to one thread at a time.
 */
#ifndef COMMON_BASE_JSON_SEEK_H
#define COMMON_BASE_JSON_SEEK_H

#include <stdbool.h>
#include <stddef.h>

enum { JSON_SEEK_SIZE = 64 }; /* of a name or a value that can be found, with its NUL */

struct json_seek {
    const char *name; /* borrowed */
    size_t depth;
    enum { JSON_SEEK_OTHER, JSON_SEEK_NAME, JSON_SEEK_COLON } last; /* token before this one */
    bool in_string, is_escaped, is_plain; /* plain: without escapes and NUL, and not too long */
    size_t length;                        /* of the string at hand */
    char string[JSON_SEEK_SIZE];
    bool is_found; /* then `string` is the value */
    bool is_over;  /* nothing is looked for any more */
};

/* Starts a search for the member `name`, which is borrowed. */
void json_seek_begin(struct json_seek *seek, const char *name);

/* Takes the next piece of the text; what follows the member that was found is ignored. */
void json_seek_take(struct json_seek *seek, const char *text, size_t length);

#endif
