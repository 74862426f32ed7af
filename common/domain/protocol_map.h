/*
 * protocol_map: the wire protocols of the API: classic, by grading run, and that by course and
 * assignment. A run belongs to the protocol by which it was submitted, a worker to the one by which
 * it registered, and a run's jobs go only to graders of its own protocol. In what else they differ
 * outside their folders is a property of their row: nothing else asks for a protocol by its name,
 * but api/protocols.c. Pure.
 */
#ifndef COMMON_DOMAIN_PROTOCOL_MAP_H
#define COMMON_DOMAIN_PROTOCOL_MAP_H

#include <stdbool.h>
#include <string.h>

/* X(Y, protocol, name in documents, what it is called in answers, metrics and sentences, properties
 * of struct protocol_properties); Y is handed on, for tables that have rows for each of them. */
#define PROTOCOL_MAP(X, Y)                                                            \
    X(Y, CLASSIC, "seed", "classic", .has_hex_worker_ids = true)                      \
    X(Y, COURSE, "course", "course", .has_courses = true, .may_register_again = true, \
      .must_send_heartbeats = true, .has_unforgiving_graders = true)

enum protocol {
#define PROTOCOL_ENUM(unused, protocol, name, title, ...) PROTOCOL_##protocol,
    PROTOCOL_MAP(PROTOCOL_ENUM, )
#undef PROTOCOL_ENUM
        PROTOCOLS
};

struct protocol_properties {
    bool has_courses;          /* each of its runs belongs to a course */
    bool has_hex_worker_ids;   /* made by the API, WORKER_ID_LENGTH digits; else graders choose */
    bool may_register_again;   /* an id, once the grader that has it is gone */
    bool must_send_heartbeats; /* its graders, also while they work, whatever they register */
    bool has_unforgiving_graders; /* those that know nothing of cancels stop for ever when a result
                                     is refused */
};

static inline const struct protocol_properties *protocol_properties(enum protocol protocol)
{
#define PROTOCOL_PROPERTIES(unused, protocol, name, title, ...) {__VA_ARGS__},
    static const struct protocol_properties rows[] = {PROTOCOL_MAP(PROTOCOL_PROPERTIES, )};
#undef PROTOCOL_PROPERTIES
    return &rows[protocol];
}

static inline const char *protocol_name(enum protocol protocol)
{
#define PROTOCOL_NAME(unused, protocol, name, title, ...) (name),
    static const char *const names[] = {PROTOCOL_MAP(PROTOCOL_NAME, )};
#undef PROTOCOL_NAME
    return names[protocol];
}

static inline const char *protocol_title(enum protocol protocol)
{
#define PROTOCOL_TITLE(unused, protocol, name, title, ...) (title),
    static const char *const titles[] = {PROTOCOL_MAP(PROTOCOL_TITLE, )};
#undef PROTOCOL_TITLE
    return titles[protocol];
}

/* Is there a protocol of that name? Then *protocol is it. */
static inline bool protocol_find(const char *name, enum protocol *protocol)
{
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        if (strcmp(name, protocol_name((enum protocol)i)) != 0)
            continue;
        *protocol = (enum protocol)i;
        return true;
    }
    return false;
}

/* The protocol of that name; the classic one if there is none. */
static inline enum protocol protocol_parse(const char *name)
{
    enum protocol protocol = PROTOCOL_CLASSIC;
    (void)protocol_find(name, &protocol);
    return protocol;
}

/* The protocol of a run or a definition that names none: the first one that has courses, or that
 * has none. */
static inline enum protocol protocol_by_course(bool has_course)
{
    unsigned i = 0;
    while (protocol_properties((enum protocol)i)->has_courses != has_course)
        i++;
    return (enum protocol)i;
}

#endif
