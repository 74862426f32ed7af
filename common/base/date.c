#include "common/base/date.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const char *date_format(int64_t date_ms, char text[DATE_TEXT_SIZE])
{
    time_t seconds = (time_t)(date_ms / 1000);
    int milliseconds = (int)(date_ms % 1000);
    if (milliseconds < 0) {
        milliseconds += 1000;
        seconds -= 1;
    }
    struct tm parts;
    gmtime_r(&seconds, &parts);
    char whole[24];
    strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, DATE_TEXT_SIZE, "%s.%03dZ", whole, milliseconds);
    return text;
}

int64_t date_parse(const char *text)
{
    static const char form[] = "0000-00-00T00:00:00";
    struct tm date = {.tm_isdst = 0};
    unsigned milliseconds = 0;
    int end = 0;
    size_t length = strlen(text);
    if (length != sizeof form && length != sizeof form + 4)
        return -1;
    for (size_t i = 0; i < sizeof form - 1; i++)
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return -1;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &date.tm_year, &date.tm_mon, &date.tm_mday,
               &date.tm_hour, &date.tm_min, &date.tm_sec) != 6)
        return -1;
    text += sizeof form - 1;
    if (text[0] == '.' &&
        (strspn(text + 1, "0123456789") != 3 || sscanf(text, ".%3u%n", &milliseconds, &end) != 1))
        return -1;
    if (strcmp(text + end, "Z") != 0)
        return -1;
    if (date.tm_year < 1970 || date.tm_mon < 1 || date.tm_mon > 12 || date.tm_mday < 1 ||
        date.tm_mday > 31 || date.tm_hour > 23 || date.tm_min > 59 || date.tm_sec > 60)
        return -1;
    date.tm_year -= 1900;
    date.tm_mon--;
    int day = date.tm_mday;
    int64_t seconds = (int64_t)timegm(&date);
    return date.tm_mday == day ? seconds * 1000 + milliseconds : -1; /* 30 February is no date */
}
