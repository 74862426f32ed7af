/*
 * history: what happened, in order: a note per event, with its virtual time. Every note goes into
 * the digest, by which two runs of a seed are compared; they are kept only if somebody wants to
 * read them. Belongs to one world.
 */
#ifndef TESTS_SIMULATION_HISTORY_H
#define TESTS_SIMULATION_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum actor {
    ACTOR_WORLD,
    ACTOR_DATABASE,
    ACTOR_SCHEDULER,
    ACTOR_REPLICA,
    ACTOR_GRADER,
    ACTOR_CLIENT
};

/* What a note is about: -1: nothing of the kind. */
struct subject {
    int run, slot, attempt, worker;
};

#define SUBJECT_NONE ((struct subject){-1, -1, -1, -1})

struct note {
    int64_t at_ms;
    enum actor actor;
    int actor_number;
    const char *what; /* static */
    struct subject subject;
    int64_t number;
    const char *detail; /* static, or owned if is_detail_owned; NULL: none */
    bool is_detail_owned;
};

struct history {
    bool is_kept;
    uint64_t digest, count;
    struct note *notes;
    size_t room;
};

void history_destroy(struct history *history);

/* Adds a note; `what` and `detail` are static. */
void history_add(struct history *history, const struct note *note);

/* The same with a text that is copied. Only where notes are kept. */
void history_add_text(struct history *history, const struct note *note, const char *text);

/* Writes those that concern the subject (all, if it is SUBJECT_NONE), the last `most` of them. */
void history_print(const struct history *history, FILE *file, struct subject subject, size_t most);

#endif
