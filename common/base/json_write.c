#include "common/base/json_write.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_DIGITS = 15, MOST_DIGITS = 17 };

/* e+07 → e7, e-07 → e-7. Returns the text's new length. */
static size_t json_write_shorten_exponent(char *text, size_t length)
{
    char *to = strchr(text, 'e');
    if (to == NULL)
        return length;
    const char *from = ++to;
    if (*from == '-')
        to++;
    from++;
    from += strspn(from, "0");
    length -= (size_t)(from - to);
    memmove(to, from, strlen(from) + 1);
    return length;
}

size_t json_real_write(double number, char text[JSON_REAL_SIZE])
{
    int length = 0;
    /* Any decimal keeps 15 digits; for numbers this small fewer may suffice. */
    int least = fabs(number) < DBL_MIN ? 1 : LEAST_DIGITS;
    for (int digits = least; digits <= MOST_DIGITS; digits++) {
        length = snprintf(text, JSON_REAL_SIZE, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    if (strchr(text, 'e') != NULL)
        return json_write_shorten_exponent(text, (size_t)length);
    if (strchr(text, '.') == NULL)
        length += snprintf(text + length, JSON_REAL_SIZE - (size_t)length, ".0");
    return (size_t)length;
}

/* Copies the string that begins at *from to *to, and moves both behind it. */
static void json_write_copy_string(const char **from, char **to)
{
    const char *end = *from + 1;
    while (*end != '"')
        end += *end == '\\' ? 2 : 1;
    size_t length = (size_t)(end + 1 - *from);
    memmove(*to, *from, length);
    *from += length;
    *to += length;
}

/* The same for a number. The shortest form is never longer than jansson's, which has 17 digits. */
static void json_write_copy_number(const char **from, char **to)
{
    size_t length = strspn(*from, "+-.0123456789eE");
    char shortest[JSON_REAL_SIZE];
    const char *text = *from;
    size_t written = length;
    if (memchr(text, '.', length) != NULL || memchr(text, 'e', length) != NULL) {
        size_t short_length = json_real_write(strtod(text, NULL), shortest);
        if (short_length < length) {
            text = shortest;
            written = short_length;
        }
    }
    memmove(*to, text, written);
    *from += length;
    *to += written;
}

/* In place: `text` is jansson's output. */
static void json_write_shorten_numbers(char *text)
{
    const char *from = text;
    char *to = text;
    while (*from != '\0') {
        if (*from == '"')
            json_write_copy_string(&from, &to);
        else if (*from == '-' || (*from >= '0' && *from <= '9'))
            json_write_copy_number(&from, &to);
        else
            *to++ = *from++;
    }
    *to = '\0';
}

json_t *json_number_new(double number)
{
    return number == floor(number) ? json_integer((json_int_t)number) : json_real(number);
}

char *json_write(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags);
    if (text != NULL)
        json_write_shorten_numbers(text);
    return text;
}
