#include "common/db/database_mask.h"

#include <stddef.h>
#include <string.h>

char *database_mask(char *text)
{
    char *from = text;
    for (char *at = strchr(from, '@'); at != NULL; at = strchr(from, '@')) {
        char *begin = at;
        while (begin > from && strchr(" \t\n'\"`[(<", begin[-1]) == NULL &&
               !(begin - from >= 3 && strncmp(begin - 3, "://", 3) == 0))
            begin--;
        size_t shown = (size_t)(at - begin) < 3 ? (size_t)(at - begin) : 3;
        memset(begin, '*', shown);
        memmove(begin + shown, at, strlen(at) + 1);
        from = begin + shown + 1;
    }
    return text;
}
