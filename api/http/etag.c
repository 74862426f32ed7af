#include "api/http/etag.h"

#include <string.h>

#include "api/http/exchange.h"

bool etag_is_named(const char *header, const char *etag)
{
    static const char space[] = " \t,";
    size_t length = strlen(etag);
    if (header == NULL)
        return false;
    header += strspn(header, space);
    if (*header == '*')
        return true;
    while (*header != '\0') {
        header += strncmp(header, "W/", 2) == 0 ? 2 : 0;
        if (strncmp(header, etag, length) == 0)
            return true;
        const char *end = *header == '"' ? strchr(header + 1, '"') : NULL;
        if (end == NULL)
            return false;
        header = end + 1 + strspn(end + 1, space);
    }
    return false;
}

bool etag_answer(struct exchange *exchange, const char *etag)
{
    exchange_add_header(exchange, "ETag", etag);
    if (!etag_is_named(exchange_header(exchange, "If-None-Match"), etag))
        return false;
    exchange_answer(exchange, 304, NULL, NULL);
    return true;
}
