/*
 * pause: what is paused: the whole cluster, a course, an assignment, a run or a worker. A pause is
 * a fact whose id is computed from what it pauses, and from whether a person or Broadway itself
 * made it, so that a manual pause and an automatic one exist side by side. Pure; safe from any
 * thread.
 */
#ifndef COMMON_DOMAIN_PAUSE_H
#define COMMON_DOMAIN_PAUSE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/domain/job.h"

/* X(Y, kind, name in ids, answers and metrics); Y is handed on. */
#define PAUSE_KIND_MAP(X, Y)       \
    X(Y, CLUSTER, "cluster")       \
    X(Y, COURSE, "course")         \
    X(Y, ASSIGNMENT, "assignment") \
    X(Y, RUN, "run")               \
    X(Y, WORKER, "worker")

enum pause_kind {
#define PAUSE_KIND_ENUM(unused, kind, name) PAUSE_##kind,
    PAUSE_KIND_MAP(PAUSE_KIND_ENUM, )
#undef PAUSE_KIND_ENUM
        PAUSE_KINDS
};

enum {
    PAUSE_NAME_SIZE = 2 * WORKER_ID_SIZE, /* of a course and an assignment */
    PAUSE_ID_SIZE = PAUSE_NAME_SIZE + 24,
    PAUSE_NOTE_SIZE = 501,              /* with its NUL */
    PAUSE_BY_SIZE = 2 * WORKER_ID_SIZE, /* of a token's name and a course */
    PAUSE_TIMEOUT_MAX_S = 366 * 24 * 3600
};

struct pause {
    enum pause_kind kind;
    char name[PAUSE_NAME_SIZE]; /* the id of a run or a worker, a course, COURSE/ASSIGNMENT; "": the
                                   cluster */
    bool is_automatic;          /* Broadway made it */
    bool is_drain;              /* of a worker that is to end */
    char by[PAUSE_BY_SIZE];     /* who made it: the token's name, or what it is without one */
    char note[PAUSE_NOTE_SIZE]; /* "": none */
    int64_t at_ms, until_ms;    /* database dates; no end: 0 */
    int64_t resumed_ms;         /* an automatic pause that was ended by hand; 0: it was not */
};

/* "course" and so on. Static. */
const char *pause_kind_name(enum pause_kind kind);

/* The name of an assignment: COURSE/ASSIGNMENT. Returns `name`. */
const char *pause_assignment_name(const char *course, const char *assignment,
                                  char name[PAUSE_NAME_SIZE]);

/* The pause's id: KIND/NAME/manual or KIND/NAME/automatic. Returns `id`. */
const char *pause_id(enum pause_kind kind, const char *name, bool is_automatic,
                     char id[PAUSE_ID_SIZE]);

/* Fills in kind, name and is_automatic from an id. False: it is none. */
bool pause_id_parse(const char *id, struct pause *pause);

/* Whether the pause holds at that date of the database. */
bool pause_is_in_force(const struct pause *pause, int64_t date_ms);

/* What is shown of a pause: {"kind", "name", "by", "at", "until", "note", "automatic"[, "drain"]},
 * without a name for the cluster. New reference. */
json_t *pause_json(const struct pause *pause);

#endif
