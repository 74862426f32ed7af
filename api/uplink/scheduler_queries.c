#include "api/uplink/scheduler_queries.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "api/uplink/signals.h"
#include "common/base/clock.h"

enum { ASK_AGAIN_MS = 1000, LOOK_MS = 200 };

struct open_question {
    int64_t number;
    struct question question;
    int64_t asked_ms, expires_ms;
    struct open_question *next; /* in a list of those that were just removed */
    UT_hash_handle hh;
};

struct questions {
    struct signals *signals;
    pthread_t timer;
    pthread_cond_t wake;
    pthread_mutex_t mutex; /* guards what follows */
    struct open_question *open;
    int64_t last_number;
    bool is_closing;
};

/* Outside the mutex or under it: signals never calls back. */
static void ask_scheduler(struct questions *questions, const struct open_question *open)
{
    struct signal_question row = {
        .number = open->number, .kind = open->question.kind, .epoch = open->question.epoch};
    snprintf(row.subject, sizeof row.subject, "%s", open->question.subject);
    signals_question(questions->signals, &row);
}

void questions_ask(struct questions *questions, const struct question *question)
{
    struct open_question *open = calloc(1, sizeof *open);
    if (open == NULL)
        abort();
    open->question = *question;
    open->asked_ms = clock_boot_ms();
    open->expires_ms = open->asked_ms + question->patience_ms;
    pthread_mutex_lock(&questions->mutex);
    bool is_closing = questions->is_closing;
    if (!is_closing) {
        open->number = ++questions->last_number;
        HASH_ADD(hh, questions->open, number, sizeof open->number, open);
        ask_scheduler(questions, open);
        pthread_cond_signal(&questions->wake);
    }
    pthread_mutex_unlock(&questions->mutex);
    if (!is_closing)
        return;
    question->answered(BW_UNAVAILABLE, NULL, question->context);
    free(open);
}

void questions_answer(struct questions *questions, int64_t number, const json_t *answer)
{
    struct open_question *open;
    pthread_mutex_lock(&questions->mutex);
    HASH_FIND(hh, questions->open, &number, sizeof number, open);
    if (open != NULL)
        HASH_DELETE(hh, questions->open, open);
    pthread_mutex_unlock(&questions->mutex);
    if (open == NULL)
        return;
    open->question.answered(BW_OK, answer, open->question.context);
    free(open);
}

/* Asks again what has waited; takes out what has waited too long (all, if closing). */
static struct open_question *look(struct questions *questions, int64_t now_ms)
{
    struct open_question *open, *following, *expired = NULL;
    HASH_ITER (hh, questions->open, open, following) {
        if (questions->is_closing || now_ms >= open->expires_ms) {
            HASH_DELETE(hh, questions->open, open);
            open->next = expired;
            expired = open;
        } else if (now_ms - open->asked_ms >= ASK_AGAIN_MS) {
            open->asked_ms = now_ms;
            ask_scheduler(questions, open);
        }
    }
    return expired;
}

static void give_up(struct open_question *expired)
{
    while (expired != NULL) {
        struct open_question *open = expired;
        expired = open->next;
        open->question.answered(BW_UNAVAILABLE, NULL, open->question.context);
        free(open);
    }
}

static void *run_timer(void *context)
{
    struct questions *questions = context;
    pthread_mutex_lock(&questions->mutex);
    while (!questions->is_closing || questions->open != NULL) {
        struct open_question *expired = look(questions, clock_boot_ms());
        if (expired != NULL) {
            pthread_mutex_unlock(&questions->mutex);
            give_up(expired);
            pthread_mutex_lock(&questions->mutex);
            continue;
        }
        if (questions->is_closing)
            break;
        if (questions->open == NULL) {
            pthread_cond_wait(&questions->wake, &questions->mutex);
            continue;
        }
        struct timespec until = clock_deadline(LOOK_MS);
        pthread_cond_timedwait(&questions->wake, &questions->mutex, &until);
    }
    pthread_mutex_unlock(&questions->mutex);
    return NULL;
}

enum bw_code questions_open(struct signals *signals, struct questions **questions,
                            struct bw_error *error)
{
    struct questions *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        abort();
    opened->signals = signals;
    pthread_mutex_init(&opened->mutex, NULL);
    clock_condition_init(&opened->wake);
    if (pthread_create(&opened->timer, NULL, run_timer, opened) != 0) {
        pthread_cond_destroy(&opened->wake);
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return bw_fail(error, BW_INTERNAL, "the thread of the questions can't be started");
    }
    *questions = opened;
    return BW_OK;
}

void questions_close(struct questions *questions)
{
    if (questions == NULL)
        return;
    pthread_mutex_lock(&questions->mutex);
    questions->is_closing = true;
    pthread_cond_signal(&questions->wake);
    pthread_mutex_unlock(&questions->mutex);
    pthread_join(questions->timer, NULL);
    pthread_cond_destroy(&questions->wake);
    pthread_mutex_destroy(&questions->mutex);
    free(questions);
}
