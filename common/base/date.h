/*
 * date: dates as text. A date is UTC milliseconds since 1970. Pure; safe from any thread.
 */
#ifndef COMMON_BASE_DATE_H
#define COMMON_BASE_DATE_H

#include <stdint.h>

enum { DATE_TEXT_SIZE = 32 };

/* Writes `date_ms` (UTC milliseconds since 1970) as RFC 3339 with milliseconds, e.g.
 * 2026-09-01T23:59:00.000Z, into `text`, and returns it. */
const char *date_format(int64_t date_ms, char text[DATE_TEXT_SIZE]);

/* Reads a date as date_format writes it; the fraction may be missing. UTC milliseconds since 1970;
 * -1: it is none. */
int64_t date_parse(const char *text);

#endif
