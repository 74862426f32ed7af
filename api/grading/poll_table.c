#include "api/grading/poll_table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/ticker.h"

/* How long an ENDING poll waits for the scheduler's answer. Clients of the course protocol wait 5 s
 * for an answer, and treat an empty one as final. */
enum { CUT_MS = 1000, COURSE_CUT_MS = 3000, LONGEST_SLEEP_MS = 60000 };

enum poll_state { POLL_PARKED, POLL_ENDING };

struct poll {
    int64_t number;
    char worker[WORKER_ID_SIZE];
    struct exchange *exchange; /* NULL: the poll of a websocket */
    uint64_t socket;
    int64_t deadline_ms; /* clock_boot_ms of its end: of PARKED, then of ENDING */
    int64_t cut_ms;      /* milliseconds that the scheduler has for its last answer */
    enum poll_state state;
    size_t place;      /* index in the heap */
    struct poll *next; /* in a list of removed polls */
    UT_hash_handle by_number, by_exchange;
};

struct poll_table {
    struct poll_table_settings settings;
    struct ticker *ticker; /* woken when the first deadline changes */
    pthread_mutex_t mutex; /* guards what follows */
    struct poll *numbers, *exchanges;
    struct poll **heap; /* by deadline, the first on top */
    size_t count, room;
    int64_t last_number;
    uint64_t checksum;
    bool is_draining;
};

/* ---- The heap ---- */

static void heap_put(struct poll_table *table, size_t place, struct poll *poll)
{
    table->heap[place] = poll;
    poll->place = place;
}

static void heap_rise(struct poll_table *table, struct poll *poll)
{
    size_t place = poll->place;
    while (place > 0 && table->heap[(place - 1) / 2]->deadline_ms > poll->deadline_ms) {
        heap_put(table, place, table->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    heap_put(table, place, poll);
}

static void heap_sink(struct poll_table *table, struct poll *poll)
{
    size_t place = poll->place;
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= table->count)
            break;
        if (child + 1 < table->count &&
            table->heap[child + 1]->deadline_ms < table->heap[child]->deadline_ms)
            child++;
        if (table->heap[child]->deadline_ms >= poll->deadline_ms)
            break;
        heap_put(table, place, table->heap[child]);
        place = child;
    }
    heap_put(table, place, poll);
}

static void poll_table_heap_add(struct poll_table *table, struct poll *poll)
{
    if (table->count == table->room) {
        table->room = table->room == 0 ? 256 : table->room * 2;
        table->heap = bw_grow(table->heap, table->room, sizeof *table->heap);
    }
    poll->place = table->count++;
    heap_rise(table, poll);
}

static void heap_remove(struct poll_table *table, const struct poll *poll)
{
    struct poll *last = table->heap[--table->count];
    if (last == poll)
        return;
    last->place = poll->place;
    heap_rise(table, last);
    heap_sink(table, last);
}

/* ---- The table, under its mutex ---- */

static void poll_table_insert(struct poll_table *table, struct poll *poll)
{
    HASH_ADD(by_number, table->numbers, number, sizeof poll->number, poll);
    if (poll->exchange != NULL)
        HASH_ADD(by_exchange, table->exchanges, exchange, sizeof(struct exchange *), poll);
    poll_table_heap_add(table, poll);
    table->checksum += (uint64_t)signal_poll_checksum(poll->number);
    if (poll->place == 0)
        ticker_wake(table->ticker);
}

static void poll_table_remove(struct poll_table *table, struct poll *poll)
{
    HASH_DELETE(by_number, table->numbers, poll);
    if (poll->exchange != NULL)
        HASH_DELETE(by_exchange, table->exchanges, poll);
    heap_remove(table, poll);
    table->checksum -= (uint64_t)signal_poll_checksum(poll->number);
}

static struct poll *poll_table_find(struct poll_table *table, int64_t number)
{
    struct poll *poll;
    HASH_FIND(by_number, table->numbers, &number, sizeof number, poll);
    return poll;
}

/* ---- Answers, outside the mutex ---- */

static void poll_table_answer_empty(const struct poll_table *table, struct poll *poll)
{
    if (poll->exchange != NULL)
        table->settings.refuse(poll->exchange, BW_NO_JOB, NULL);
    free(poll);
}

static void poll_table_answer_all_empty(const struct poll_table *table, struct poll *list)
{
    while (list != NULL) {
        struct poll *poll = list;
        list = poll->next;
        poll_table_answer_empty(table, poll);
    }
}

/* ---- The timer ---- */

/* Handles the deadlines up to `now_ms`. Returns the polls that ended without an answer of the
 * scheduler, removed from the table. */
static struct poll *poll_table_pass_deadlines(struct poll_table *table, int64_t now_ms)
{
    struct poll *cut = NULL;
    while (table->count > 0 && table->heap[0]->deadline_ms <= now_ms) {
        struct poll *poll = table->heap[0];
        if (poll->state == POLL_PARKED) {
            poll->state = POLL_ENDING;
            poll->deadline_ms = now_ms + poll->cut_ms;
            heap_sink(table, poll);
            signals_poll(table->settings.signals, poll->worker, poll->number, true);
            continue;
        }
        poll_table_remove(table, poll);
        signals_gone(table->settings.signals, poll->number);
        poll->next = cut;
        cut = poll;
    }
    return cut;
}

/* Milliseconds from `now_ms` until the next deadline. */
static int64_t poll_table_wait_ms(const struct poll_table *table, int64_t now_ms)
{
    if (table->count == 0)
        return TICKER_IDLE;
    int64_t wait_ms = table->heap[0]->deadline_ms - now_ms;
    if (wait_ms > LONGEST_SLEEP_MS)
        return LONGEST_SLEEP_MS; /* polls of websockets have no deadline */
    return wait_ms > 0 ? wait_ms : 0;
}

static int64_t poll_table_tick(void *context)
{
    struct poll_table *table = context;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&table->mutex);
    struct poll *cut = poll_table_pass_deadlines(table, now_ms);
    int64_t wait_ms = poll_table_wait_ms(table, now_ms);
    pthread_mutex_unlock(&table->mutex);
    bool has_answered = cut != NULL;
    poll_table_answer_all_empty(table, cut);
    /* The answers took time, so the deadlines are checked again. */
    return has_answered ? 0 : wait_ms;
}

/* ---- Called by other modules ---- */

static struct poll_table_settings poll_table_default_settings(struct poll_table_settings settings)
{
    if (settings.watch == NULL)
        settings.watch = exchange_watch;
    if (settings.is_gone == NULL)
        settings.is_gone = exchange_is_gone;
    if (settings.refuse == NULL)
        settings.refuse = exchange_refuse;
    return settings;
}

enum bw_code poll_table_open(const struct poll_table_settings *settings, struct poll_table **table,
                             struct bw_error *error)
{
    struct poll_table *self = bw_alloc(sizeof *self);
    self->settings = poll_table_default_settings(*settings);
    pthread_mutex_init(&self->mutex, NULL);
    enum bw_code code = ticker_open("the parked polls", TICKER_IDLE, poll_table_tick, self,
                                    &self->ticker, error);
    if (code != BW_OK) {
        pthread_mutex_destroy(&self->mutex);
        free(self);
        return code;
    }
    *table = self;
    return BW_OK;
}

void poll_table_close(struct poll_table *table)
{
    if (table == NULL)
        return;
    poll_table_drain(table);
    ticker_close(table->ticker);
    pthread_mutex_destroy(&table->mutex);
    free(table->heap);
    free(table);
}

/* Called by the HTTP server when a client has disconnected. The exchange stays allocated until this
 * returns, so no other exchange can have its address. */
static void poll_table_client_gone(struct exchange *exchange, void *context)
{
    struct poll_table *table = context;
    struct poll *poll;
    pthread_mutex_lock(&table->mutex);
    HASH_FIND(by_exchange, table->exchanges, &exchange, sizeof(struct exchange *), poll);
    if (poll != NULL) {
        poll_table_remove(table, poll);
        signals_gone(table->settings.signals, poll->number);
    }
    pthread_mutex_unlock(&table->mutex);
    if (poll != NULL)
        poll_table_answer_empty(table, poll);
}

static struct poll *poll_new(struct exchange *exchange, const char *worker, int64_t wait_ms)
{
    struct poll *poll = bw_alloc(sizeof *poll);
    snprintf(poll->worker, sizeof poll->worker, "%s", worker);
    poll->exchange = exchange;
    poll->state = wait_ms > 0 ? POLL_PARKED : POLL_ENDING;
    poll->cut_ms = is_hex_id(worker, WORKER_ID_LENGTH) ? CUT_MS : COURSE_CUT_MS;
    poll->deadline_ms = clock_boot_ms() + (wait_ms > 0 ? wait_ms : poll->cut_ms);
    return poll;
}

void poll_table_park(struct poll_table *table, struct exchange *exchange, const char *worker,
                     int64_t wait_ms)
{
    struct poll *poll = poll_new(exchange, worker, wait_ms);
    /* Watched before it is in the table: once it is there, any thread may answer it, and it must
     * not be touched. If the client disconnects before the poll is in the table,
     * poll_table_client_gone does not find the poll, but exchange_is_gone returns true. */
    table->settings.watch(exchange, poll_table_client_gone, table);
    pthread_mutex_lock(&table->mutex);
    bool is_refused = table->is_draining || table->settings.is_gone(exchange);
    if (!is_refused) {
        poll->number = ++table->last_number;
        poll_table_insert(table, poll);
        signals_poll(table->settings.signals, poll->worker, poll->number,
                     poll->state == POLL_ENDING);
    }
    pthread_mutex_unlock(&table->mutex);
    if (is_refused)
        poll_table_answer_empty(table, poll);
}

int64_t poll_table_park_socket(struct poll_table *table, uint64_t socket, const char *worker)
{
    int64_t number = 0;
    struct poll *poll = poll_new(NULL, worker, 1);
    poll->socket = socket;
    poll->deadline_ms = INT64_MAX;
    pthread_mutex_lock(&table->mutex);
    if (!table->is_draining) {
        number = poll->number = ++table->last_number;
        poll_table_insert(table, poll);
        signals_poll(table->settings.signals, poll->worker, number, false);
    }
    pthread_mutex_unlock(&table->mutex);
    if (number == 0)
        free(poll);
    return number;
}

void poll_table_leave(struct poll_table *table, int64_t number)
{
    pthread_mutex_lock(&table->mutex);
    struct poll *poll = poll_table_find(table, number);
    if (poll != NULL) {
        poll_table_remove(table, poll);
        signals_gone(table->settings.signals, number);
    }
    pthread_mutex_unlock(&table->mutex);
    free(poll);
}

enum poll_kind poll_table_kind(struct poll_table *table, int64_t number, const char *worker)
{
    enum poll_kind kind = POLL_KIND_NONE;
    pthread_mutex_lock(&table->mutex);
    const struct poll *poll = poll_table_find(table, number);
    if (poll != NULL && strcmp(poll->worker, worker) == 0)
        kind = poll->exchange == NULL ? POLL_KIND_SOCKET : POLL_KIND_REQUEST;
    pthread_mutex_unlock(&table->mutex);
    return kind;
}

/* Removes the poll, if it is this worker's. NULL: it is not there. */
static struct poll *poll_table_remove_of(struct poll_table *table, int64_t number,
                                         const char *worker)
{
    pthread_mutex_lock(&table->mutex);
    struct poll *poll = poll_table_find(table, number);
    if (poll != NULL && strcmp(poll->worker, worker) != 0)
        poll = NULL;
    if (poll != NULL)
        poll_table_remove(table, poll);
    pthread_mutex_unlock(&table->mutex);
    return poll;
}

struct exchange *poll_table_take(struct poll_table *table, int64_t number, const char *worker)
{
    struct poll *poll = poll_table_remove_of(table, number, worker);
    struct exchange *exchange = poll == NULL ? NULL : poll->exchange;
    free(poll);
    return exchange;
}

uint64_t poll_table_take_socket(struct poll_table *table, int64_t number, const char *worker)
{
    struct poll *poll = poll_table_remove_of(table, number, worker);
    uint64_t socket = poll == NULL ? 0 : poll->socket;
    free(poll);
    return socket;
}

void poll_table_empty(struct poll_table *table, int64_t number)
{
    pthread_mutex_lock(&table->mutex);
    struct poll *poll = poll_table_find(table, number);
    if (poll != NULL && poll->state != POLL_ENDING)
        poll = NULL;
    if (poll != NULL)
        poll_table_remove(table, poll);
    pthread_mutex_unlock(&table->mutex);
    if (poll != NULL)
        poll_table_answer_empty(table, poll);
}

void poll_table_drain(struct poll_table *table)
{
    struct poll *list = NULL;
    pthread_mutex_lock(&table->mutex);
    table->is_draining = true;
    while (table->count > 0) {
        struct poll *poll = table->heap[table->count - 1];
        poll_table_remove(table, poll);
        signals_gone(table->settings.signals, poll->number);
        poll->next = list;
        list = poll;
    }
    pthread_mutex_unlock(&table->mutex);
    poll_table_answer_all_empty(table, list);
}

size_t poll_table_count(struct poll_table *table)
{
    pthread_mutex_lock(&table->mutex);
    size_t count = table->count;
    pthread_mutex_unlock(&table->mutex);
    return count;
}

static struct signal_poll *poll_table_list(const struct poll_table *table)
{
    struct signal_poll *polls = bw_alloc_array(table->count + 1, sizeof *polls);
    for (size_t i = 0; i < table->count; i++) {
        polls[i].poll = table->heap[i]->number;
        polls[i].is_final = table->heap[i]->state == POLL_ENDING;
        memcpy(polls[i].worker, table->heap[i]->worker, sizeof polls[i].worker);
    }
    return polls;
}

void poll_table_snapshot(struct poll_table *table, bool with_polls, struct poll_snapshot *snapshot,
                         void (*at)(void *context), void *context)
{
    pthread_mutex_lock(&table->mutex);
    snapshot->count = (int64_t)table->count;
    snapshot->checksum = (int64_t)(table->checksum & INT64_MAX);
    snapshot->polls = with_polls ? poll_table_list(table) : NULL;
    at(context);
    pthread_mutex_unlock(&table->mutex);
}
