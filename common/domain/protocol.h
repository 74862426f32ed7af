/*
 * protocol: the two forms of the API: classic, by grading run, and that by course and
 * assignment. A run belongs to the protocol by which it was submitted, a worker to the one by which
 * it registered, and a run's jobs go only to graders of its own protocol. Pure.
 */
#ifndef COMMON_DOMAIN_PROTOCOL_H
#define COMMON_DOMAIN_PROTOCOL_H

#include <string.h>

enum protocol { PROTOCOL_CLASSIC, PROTOCOL_COURSE };

enum { PROTOCOLS = 2 };

static inline const char *protocol_name(enum protocol protocol)
{
    return protocol == PROTOCOL_COURSE ? "course" : "seed";
}

/* What it is called in answers, metrics and sentences. */
static inline const char *protocol_title(enum protocol protocol)
{
    return protocol == PROTOCOL_COURSE ? "course" : "classic";
}

/* The protocol of that name; the classic one's if it is none. */
static inline enum protocol protocol_parse(const char *name)
{
    return strcmp(name, "course") == 0 ? PROTOCOL_COURSE : PROTOCOL_CLASSIC;
}

#endif
