#include "common/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *text;
} codes[] = {
#define BW_CODE_ROW(name, status, text) {status, text},
    BW_CODE_MAP(BW_CODE_ROW)
#undef BW_CODE_ROW
};

/* Takes a UTF-8 sequence that was cut in two off the end of `text`. */
static void drop_partial_character(char *text, size_t length)
{
    size_t start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0xC0)
        text[start - 1] = '\0';
}

enum bw_code bw_fail(struct bw_error *error, enum bw_code code, const char *format, ...)
{
    if (error == NULL)
        return code;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (wanted >= (int)sizeof error->message)
        drop_partial_character(error->message, sizeof error->message - 1);
    return code;
}

int bw_code_status(enum bw_code code)
{
    return codes[code].status;
}

const char *bw_code_text(enum bw_code code)
{
    return codes[code].text;
}
