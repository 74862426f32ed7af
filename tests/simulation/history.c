#include "tests/simulation/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/dice.h"

static const char *const actor_names[] = {
    [ACTOR_WORLD] = "world",     [ACTOR_DATABASE] = "database", [ACTOR_SCHEDULER] = "scheduler",
    [ACTOR_REPLICA] = "replica", [ACTOR_GRADER] = "grader",     [ACTOR_CLIENT] = "client",
};

void history_destroy(struct history *history)
{
    for (uint64_t i = 0; history->is_kept && i < history->count; i++)
        if (history->notes[i].is_detail_owned)
            free((char *)(uintptr_t)history->notes[i].detail);
    free(history->notes);
    memset(history, 0, sizeof *history);
}

/* Texts are static: their first letters tell one from another, their address may not. */
static uint64_t history_text(const char *text)
{
    uint64_t sum = 0;
    for (unsigned i = 0; text[i] != '\0' && i < 8; i++)
        sum = sum << 8 | (unsigned char)text[i];
    return sum;
}

static void history_digest(struct history *history, const struct note *note)
{
    uint64_t where = (uint64_t)note->at_ms << 16 ^ (uint64_t)note->actor << 8 ^
                     (uint64_t)note->actor_number;
    const struct subject *subject = &note->subject;
    uint64_t about = (uint64_t)(subject->run + 1) << 48 ^ (uint64_t)(subject->slot + 1) << 32 ^
                     (uint64_t)(subject->attempt + 1) << 16 ^ (uint64_t)(subject->worker + 1);
    history->digest = dice_mix(history->digest ^ where ^ history_text(note->what));
    history->digest = dice_mix(history->digest ^ about ^ (uint64_t)note->number << 20);
}

static void history_keep(struct history *history, const struct note *note)
{
    if (history->count == history->room) {
        history->room = history->room * 2 + 4096;
        history->notes = bw_grow(history->notes, history->room, sizeof *history->notes);
    }
    history->notes[history->count] = *note;
}

void history_add(struct history *history, const struct note *note)
{
    history_digest(history, note);
    if (history->is_kept)
        history_keep(history, note);
    history->count++;
}

void history_add_text(struct history *history, const struct note *note, const char *text)
{
    struct note with_text = *note;
    if (!history->is_kept)
        return;
    with_text.detail = bw_copy(text);
    with_text.is_detail_owned = true;
    history_keep(history, &with_text);
    history->count++;
}

/* Faults and leaders concern everybody. */
static bool history_concerns(const struct note *note, struct subject subject)
{
    if (subject.run < 0 && subject.worker < 0)
        return true;
    if (note->subject.run < 0 && note->subject.worker < 0)
        return note->actor == ACTOR_WORLD || note->actor == ACTOR_SCHEDULER;
    bool is_run = subject.run >= 0 && note->subject.run == subject.run &&
                  (subject.slot < 0 || note->subject.slot < 0 ||
                   note->subject.slot == subject.slot);
    bool is_worker = note->subject.run < 0 && subject.worker >= 0 &&
                     note->subject.worker == subject.worker;
    return is_run || is_worker;
}

static void history_print_note(const struct note *note, FILE *file)
{
    int64_t seconds = note->at_ms / 1000;
    fprintf(file, "%02d:%02d:%02d.%03d  %-9s %-3d %-34s", (int)(seconds / 3600),
            (int)(seconds / 60 % 60), (int)(seconds % 60), (int)(note->at_ms % 1000),
            actor_names[note->actor], note->actor_number, note->what);
    if (note->subject.run >= 0)
        fprintf(file, " run %d", note->subject.run);
    if (note->subject.slot >= 0)
        fprintf(file, " job %d", note->subject.slot);
    if (note->subject.attempt >= 0)
        fprintf(file, " attempt %d", note->subject.attempt);
    if (note->subject.worker >= 0)
        fprintf(file, " worker %d", note->subject.worker);
    if (note->number != 0)
        fprintf(file, " (%lld)", (long long)note->number);
    if (note->detail != NULL)
        fprintf(file, " %s", note->detail);
    fputc('\n', file);
}

void history_print(const struct history *history, FILE *file, struct subject subject, size_t most)
{
    size_t shown = 0, first = (size_t)history->count;
    while (first > 0 && shown < most)
        shown += history_concerns(&history->notes[--first], subject);
    for (size_t i = first; i < history->count; i++)
        if (history_concerns(&history->notes[i], subject))
            history_print_note(&history->notes[i], file);
}
