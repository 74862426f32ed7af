#include "api/grading/log_streams.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "api/api.h"
#include "api/grading/job_log.h"
#include "api/http/answer_stream.h"
#include "api/http/event_response.h"
#include "api/http/exchange.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/text_buffer.h"
#include "common/base/text_cut.h"
#include "common/base/ticker.h"
#include "common/store/lease_store.h"
#include "common/store/run_store.h"

enum {
    KEEP_ALIVE_MS = 20000,
    SCAN_MS = 1000,
    ROUNDS = 16, /* reads of chunks in one scan */
    BLOCK_BYTES = 16 * 1024,
    EVENT_BYTES = 64 * 1024,                         /* text of one event */
    SCOPE_SIZE = WORKER_ID_SIZE + ANSWER_CALLER_SIZE /* one of them */
};

struct log_stream_client {
    struct log_streams *streams;
    int64_t number;
    bool has_course;
    char scope[SCOPE_SIZE]; /* the course, or the caller's key (answer_caller.h) */
    struct log_follow follow;
    struct MHD_Connection *connection; /* NULL: the response is not made yet */
    struct text_buffer text;           /* not sent yet, from `sent` on */
    size_t sent;
    bool is_suspended, is_over;
    int64_t sent_ms;
    struct log_stream_client *prev, *next;
};

struct log_streams {
    struct api *api;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards what follows, and the clients */
    struct log_stream_client *clients;
    size_t count;
    int64_t last_number;
    bool is_draining;
};

/* ---- Under the mutex ---- */

static struct log_stream_client *log_streams_find(struct log_streams *streams, int64_t number)
{
    struct log_stream_client *client;
    DL_FOREACH (streams->clients, client)
        if (client->number == number)
            return client->is_over ? NULL : client;
    return NULL;
}

static void log_stream_resume(struct log_stream_client *client)
{
    client->sent_ms = clock_boot_ms();
    if (!client->is_suspended)
        return;
    client->is_suspended = false;
    MHD_resume_connection(client->connection);
}

static void log_stream_finish(struct log_stream_client *client)
{
    client->is_over = true;
    log_stream_resume(client);
}

/* Appends an event. `id`: with one, which names the attempt and the offset that the client has now.
 * `data` is stolen. */
static void log_stream_append(struct log_stream_client *client, const char *type, bool has_id,
                              json_t *data)
{
    char id[64] = "";
    if (has_id)
        snprintf(id, sizeof id, "id: %" PRIu32 ".%" PRId64 "\n", client->follow.place.attempt,
                 client->follow.offset);
    text_buffer_add_text(&client->text, id);
    text_buffer_add_text(&client->text, "event: ");
    text_buffer_add_text(&client->text, type);
    text_buffer_add_text(&client->text, "\ndata: ");
    text_buffer_add_new(&client->text, data);
    text_buffer_add_text(&client->text, "\n\n");
    log_stream_resume(client);
}

/* Appends text of the log; the client's offset has been moved behind it, if `has_id`. */
static void log_stream_append_text(struct log_stream_client *client, int64_t offset,
                                   const char *text, size_t length, bool has_id)
{
    log_stream_append(client, "log", has_id,
                      json_pack("{s:I,s:s%}", "offset", (json_int_t)offset, "text", text, length));
}

static void log_stream_enter_attempt(struct log_stream_client *client, uint32_t attempt)
{
    client->follow.place.attempt = attempt;
    client->follow.offset = 0;
    log_stream_append(client, "attempt", true, json_pack("{s:I}", "attempt", (json_int_t)attempt));
}

static void log_stream_take_chunk(struct log_stream_client *client, const struct log_chunk *chunk)
{
    struct text_buffer text = {.bytes = NULL};
    log_text_add(&text, chunk->bytes, chunk->length);
    client->follow.offset = chunk->offset + (int64_t)chunk->length;
    log_stream_append_text(client, chunk->offset, text.bytes, text.length, true);
    text_buffer_clear(&text);
}

/* The bytes up to `offset` are missing. */
static void log_stream_skip(struct log_stream_client *client, int64_t offset)
{
    char mark[TEXT_CUT_MARK_SIZE];
    int64_t from = client->follow.offset;
    text_cut_mark((size_t)(offset - from), mark);
    client->follow.offset = offset;
    log_stream_append_text(client, from, mark, strlen(mark), true);
}

/* ---- A scan for news, on the ticker's thread ---- */

/* What is followed, copied; a row of it belongs to the client of that number. */
struct log_scan {
    struct log_streams *streams;
    struct log_follow *follows;
    int64_t *numbers;
    struct result *results; /* of jobs that have ended; the others' job is "" */
    struct result *ends; /* of jobs without a result whose runs are over; the others' job is "" */
    bool *is_held;       /* its job is superseded, and a grader goes on with it */
    bool *is_new, *is_found;
    size_t count;
};

static void log_scan_begin(struct log_streams *streams, struct log_scan *scan)
{
    const struct log_stream_client *client;
    pthread_mutex_lock(&streams->mutex);
    *scan = (struct log_scan){
        .streams = streams,
        .follows = bw_alloc_array(streams->count + 1, sizeof *scan->follows),
        .numbers = bw_alloc_array(streams->count + 1, sizeof *scan->numbers),
        .results = bw_alloc_array(streams->count + 1, sizeof *scan->results),
        .is_held = bw_alloc_array(streams->count + 1, sizeof *scan->is_held),
        .is_new = bw_alloc_array(streams->count + 1, sizeof *scan->is_new),
        .is_found = bw_alloc_array(streams->count + 1, sizeof *scan->is_found)};
    DL_FOREACH (streams->clients, client) {
        if (client->is_over || client->number == 0 ||
            client->text.length - client->sent > LOG_STREAM_ROOM_BYTES)
            continue;
        scan->follows[scan->count] = client->follow;
        scan->numbers[scan->count++] = client->number;
    }
    pthread_mutex_unlock(&streams->mutex);
}

static void log_scan_end(struct log_scan *scan)
{
    free(scan->follows);
    free(scan->numbers);
    free(scan->results);
    free(scan->ends);
    free(scan->is_held);
    free(scan->is_new);
    free(scan->is_found);
}

/* The client of a row, which may have left: NULL. The mutex is locked by the caller. */
static struct log_stream_client *log_scan_client(const struct log_scan *scan, size_t index)
{
    return log_streams_find(scan->streams, scan->numbers[index]);
}

static void scan_take_lease(const struct lease *lease, void *context)
{
    const struct log_scan *scan = context;
    for (size_t i = 0; i < scan->count; i++)
        if (strcmp(scan->follows[i].place.job, lease->job) == 0 &&
            scan->follows[i].place.attempt < lease->attempt) {
            scan->follows[i].place.attempt = lease->attempt;
            scan->follows[i].offset = 0;
            scan->is_new[i] = true;
        }
}

/* Jobs for a read of the database, each once, of rows with this attempt; 0: of all rows. */
static size_t log_scan_jobs(const struct log_scan *scan, uint32_t attempt,
                            char (*jobs)[JOB_ID_SIZE])
{
    size_t count = 0;
    for (size_t i = 0; i < scan->count; i++) {
        size_t earlier = 0;
        if (attempt > 0 && scan->follows[i].place.attempt + 1 != attempt)
            continue;
        while (earlier < count && strcmp(jobs[earlier], scan->follows[i].place.job) != 0)
            earlier++;
        if (earlier == count)
            memcpy(jobs[count++], scan->follows[i].place.job, JOB_ID_SIZE);
    }
    return count;
}

/* Finds attempts that follow those of the rows: the next one, at each scan. */
static enum bw_code log_scan_read_attempts(struct log_scan *scan, char (*jobs)[JOB_ID_SIZE],
                                           struct bw_error *error)
{
    enum bw_code code = BW_OK;
    uint32_t highest = 0;
    for (size_t i = 0; i < scan->count; i++)
        if (scan->follows[i].place.attempt > highest)
            highest = scan->follows[i].place.attempt;
    for (uint32_t next = highest + 1; code == BW_OK && next > 0; next--) {
        size_t count = log_scan_jobs(scan, next, jobs);
        if (count > 0)
            code = lease_store_read(scan->streams->api->lease_store,
                                    (const char(*)[JOB_ID_SIZE])jobs, count, next, 1,
                                    scan_take_lease, scan, error);
    }
    return code;
}

static void scan_take_result(const struct result *result, void *context)
{
    const struct log_scan *scan = context;
    for (size_t i = 0; i < scan->count; i++)
        if (strcmp(scan->follows[i].place.job, result->job) == 0) {
            scan->is_held[i] = result_is_held(result);
            if (scan->is_held[i])
                continue;
            scan->results[i] = *result;
            scan->results[i].text = scan->results[i].files = NULL;
        }
}

static void scan_take_over(const char *run, enum run_phase phase, void *context)
{
    const struct log_scan *scan = context;
    for (size_t i = 0; i < scan->count; i++)
        if (scan->ends[i].job[0] == '\0' &&
            strncmp(scan->follows[i].place.job, run, RUN_ID_LENGTH) == 0)
            scan->ends[i] = job_log_left_over(scan->follows[i].place.job, phase);
}

/* Finds jobs without a result whose runs are over: they never get one. The results are read once
 * more after the runs, since one may have come in the meantime. */
static enum bw_code scan_read_left_over(struct log_scan *scan, char (*jobs)[JOB_ID_SIZE],
                                        struct bw_error *error)
{
    struct api *api = scan->streams->api;
    char(*runs)[RUN_ID_SIZE] = bw_alloc_array(scan->count + 1, sizeof *runs);
    size_t count = 0;
    bool is_any = false;
    scan->ends = bw_alloc_array(scan->count + 1, sizeof *scan->ends);
    for (size_t i = 0; i < scan->count; i++) {
        char run[RUN_ID_SIZE];
        size_t earlier = 0;
        if (scan->results[i].job[0] != '\0' || scan->is_held[i])
            continue;
        snprintf(run, sizeof run, "%.*s", RUN_ID_LENGTH, scan->follows[i].place.job);
        while (earlier < count && strcmp(runs[earlier], run) != 0)
            earlier++;
        if (earlier == count)
            memcpy(runs[count++], run, sizeof run);
    }
    enum bw_code code = BW_OK;
    if (count > 0)
        code = run_store_find_over(api->run_store, (const char(*)[RUN_ID_SIZE])runs, count,
                                   scan_take_over, scan, error);
    free(runs);
    for (size_t i = 0; i < scan->count; i++)
        is_any = is_any || scan->ends[i].job[0] != '\0';
    if (code == BW_OK && is_any)
        code = result_store_read(api->result_store, (const char(*)[JOB_ID_SIZE])jobs,
                                 log_scan_jobs(scan, 0, jobs), false, scan_take_result, scan,
                                 error);
    for (size_t i = 0; code == BW_OK && i < scan->count; i++)
        if (scan->results[i].job[0] == '\0' && !scan->is_held[i])
            scan->results[i] = scan->ends[i];
    return code;
}

static void scan_enter_attempts(const struct log_scan *scan)
{
    pthread_mutex_lock(&scan->streams->mutex);
    for (size_t i = 0; i < scan->count; i++) {
        struct log_stream_client *client = scan->is_new[i] ? log_scan_client(scan, i) : NULL;
        if (client != NULL)
            log_stream_enter_attempt(client, scan->follows[i].place.attempt);
    }
    pthread_mutex_unlock(&scan->streams->mutex);
}

/* ---- The end of a log ---- */

/* Where a slice of text ends that begins at `at`: between two characters. */
static size_t slice_end(const struct text_buffer *text, size_t at)
{
    size_t end = at + EVENT_BYTES;
    if (end >= text->length)
        return text->length;
    while (end > at + 1 && ((unsigned char)text->bytes[end] & 0xC0) == 0x80)
        end--;
    return end;
}

/* Sends the rest of a log, and its end. Under the mutex. Only the last event has an id: the text
 * may have marks, and then it has not the length of what it stands for. */
static void log_stream_end(struct log_stream_client *client, const struct text_buffer *rest,
                           int64_t size, const struct result *result)
{
    int64_t offset = client->follow.offset;
    for (size_t at = 0; at < rest->length;) {
        size_t end = slice_end(rest, at);
        bool is_last = end == rest->length;
        if (is_last)
            client->follow.offset = size;
        log_stream_append_text(client, offset + (int64_t)at, rest->bytes + at, end - at, is_last);
        at = end;
    }
    json_t *data = json_pack("{s:s}", "state", outcome_name(result->outcome));
    if (result->reason[0] != '\0')
        json_object_set_new(data, "reason", json_string(result->reason));
    log_stream_append(client, "end", true, data);
    log_stream_finish(client);
}

/* The rest of the log that a row's client has not got. */
static enum bw_code read_rest(const struct log_scan *scan, size_t index, struct text_buffer *rest,
                              int64_t *size, struct bw_error *error)
{
    const struct log_follow *follow = &scan->follows[index];
    const struct job_log_state state = {
        .place = follow->place, .is_over = true, .result = scan->results[index]};
    struct log_pieces pieces = {.list = NULL};
    struct text_buffer whole = {.bytes = NULL};
    enum bw_code code = job_log_read(scan->streams->api, &state, follow->offset, &pieces, error);
    *size = log_pieces_size(&pieces);
    if (code == BW_OK && *size > follow->offset) {
        size_t length;
        log_pieces_write(&pieces, follow->offset, *size, &whole);
        char *cut = text_cut(whole.bytes, whole.length, LOG_STREAM_REST_BYTES, &length);
        text_buffer_add(rest, cut, length);
        free(cut);
    }
    text_buffer_clear(&whole);
    log_pieces_clear(&pieces);
    return code;
}

/* Ends the streams of jobs that have ended. What can't be read now is read at the next scan. */
static void scan_end_streams(const struct log_scan *scan)
{
    struct bw_error unused;
    for (size_t i = 0; i < scan->count; i++) {
        struct text_buffer rest = {.bytes = NULL};
        int64_t size;
        if (scan->results[i].job[0] == '\0')
            continue;
        if (read_rest(scan, i, &rest, &size, &unused) == BW_OK) {
            pthread_mutex_lock(&scan->streams->mutex);
            struct log_stream_client *client = log_scan_client(scan, i);
            if (client != NULL)
                log_stream_end(client, &rest, size, &scan->results[i]);
            pthread_mutex_unlock(&scan->streams->mutex);
        }
        text_buffer_clear(&rest);
    }
}

/* ---- Chunks ---- */

static void scan_take_size(size_t index, int64_t size, void *context)
{
    const struct log_scan *scan = context;
    scan->is_new[index] = size > scan->follows[index].offset;
}

/* A read of chunks: some rows of a scan. */
struct chunk_read {
    const struct log_scan *scan;
    struct log_follow follows[LOG_CHUNK_FIND_MAX];
    size_t rows[LOG_CHUNK_FIND_MAX];
    size_t count;
};

static void scan_take_chunk(size_t index, const struct log_chunk *chunk, void *context)
{
    const struct chunk_read *read = context;
    const struct log_scan *scan = read->scan;
    size_t row = read->rows[index];
    pthread_mutex_lock(&scan->streams->mutex);
    struct log_stream_client *client = log_scan_client(scan, row);
    if (client != NULL && client->follow.offset == chunk->offset) {
        log_stream_take_chunk(client, chunk);
        scan->follows[row].offset = client->follow.offset;
        scan->is_found[row] = true;
        scan->is_new[row] = client->text.length - client->sent <= LOG_STREAM_ROOM_BYTES;
    } else {
        scan->is_new[row] = false;
    }
    pthread_mutex_unlock(&scan->streams->mutex);
}

/* A row's next chunk is not where the last one ended: skips to the next that is there. */
static void scan_skip(const struct log_scan *scan, size_t row)
{
    int64_t offset = -1;
    struct bw_error unused;
    if (log_chunk_store_next(scan->streams->api->log_chunk_store, &scan->follows[row], &offset,
                             &unused) != BW_OK ||
        offset <= scan->follows[row].offset)
        return;
    pthread_mutex_lock(&scan->streams->mutex);
    struct log_stream_client *client = log_scan_client(scan, row);
    if (client != NULL) {
        log_stream_skip(client, offset);
        scan->follows[row].offset = offset;
        scan->is_new[row] = true;
    }
    pthread_mutex_unlock(&scan->streams->mutex);
}

/* Reads one chunk for each of some rows that have new ones, from row *first on. False: none has. */
static bool scan_read_chunks(const struct log_scan *scan, size_t *first)
{
    struct chunk_read read = {.scan = scan, .count = 0};
    struct bw_error unused;
    for (; *first < scan->count && read.count < LOG_CHUNK_FIND_MAX; ++*first) {
        if (!scan->is_new[*first])
            continue;
        scan->is_found[*first] = scan->is_new[*first] = false;
        read.follows[read.count] = scan->follows[*first];
        read.rows[read.count++] = *first;
    }
    if (read.count == 0 ||
        log_chunk_store_find(scan->streams->api->log_chunk_store, read.follows, read.count,
                             scan_take_chunk, &read, &unused) != BW_OK)
        return false;
    return true;
}

/* Reads new chunks until no row has more, or enough for one scan. */
static void scan_take_chunks(struct log_scan *scan)
{
    struct bw_error unused;
    bool *is_behind = bw_alloc_array(scan->count + 1, sizeof *is_behind);
    for (size_t i = 0; i < scan->count; i++)
        scan->is_new[i] = false;
    if (log_chunk_store_sizes(scan->streams->api->log_chunk_store, scan->follows, scan->count,
                              scan_take_size, scan, &unused) == BW_OK) {
        for (unsigned round = 0; round < ROUNDS; round++) {
            size_t first = 0;
            memcpy(is_behind, scan->is_new, scan->count * sizeof *is_behind);
            while (scan_read_chunks(scan, &first))
                continue;
            for (size_t i = 0; round == 0 && i < scan->count; i++)
                if (is_behind[i] && !scan->is_found[i])
                    scan_skip(scan, i);
        }
    }
    free(is_behind);
}

static void log_streams_keep_alive(struct log_streams *streams)
{
    struct log_stream_client *client;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&streams->mutex);
    DL_FOREACH (streams->clients, client) {
        if (client->is_over || client->number == 0 || now_ms - client->sent_ms < KEEP_ALIVE_MS)
            continue;
        text_buffer_add_text(&client->text, ":\n\n");
        log_stream_resume(client);
    }
    pthread_mutex_unlock(&streams->mutex);
}

static int64_t log_streams_tick(void *context)
{
    struct log_streams *streams = context;
    struct log_scan scan;
    struct bw_error unused;
    log_scan_begin(streams, &scan);
    char(*jobs)[JOB_ID_SIZE] = bw_alloc_array(scan.count + 1, sizeof *jobs);
    enum bw_code code = BW_OK;
    if (scan.count > 0)
        code = log_scan_read_attempts(&scan, jobs, &unused);
    if (code == BW_OK && scan.count > 0)
        code = result_store_read(streams->api->result_store, (const char(*)[JOB_ID_SIZE])jobs,
                                 log_scan_jobs(&scan, 0, jobs), false, scan_take_result, &scan,
                                 &unused);
    if (code == BW_OK && scan.count > 0)
        code = scan_read_left_over(&scan, jobs, &unused);
    if (code == BW_OK && scan.count > 0) {
        scan_enter_attempts(&scan);
        scan_end_streams(&scan);
        scan_take_chunks(&scan);
    }
    free(jobs);
    log_scan_end(&scan);
    log_streams_keep_alive(streams);
    return log_streams_count(streams) > 0 ? SCAN_MS : TICKER_IDLE;
}

/* ---- Sending, on the server's threads ---- */

static ssize_t log_stream_read(void *context, uint64_t position, char *bytes, size_t room)
{
    struct log_stream_client *client = context;
    ssize_t length = 0;
    (void)position;
    pthread_mutex_lock(&client->streams->mutex);
    size_t rest = client->text.length - client->sent;
    if (rest > 0) {
        length = (ssize_t)(rest < room ? rest : room);
        memcpy(bytes, client->text.bytes + client->sent, (size_t)length);
        client->sent += (size_t)length;
        if (client->sent == client->text.length) {
            text_buffer_reset(&client->text, BLOCK_BYTES);
            client->sent = 0;
        }
    } else if (client->is_over) {
        length = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        client->is_suspended = true;
        MHD_suspend_connection(client->connection);
    }
    pthread_mutex_unlock(&client->streams->mutex);
    return length;
}

static void log_stream_drop(void *context)
{
    struct log_stream_client *client = context;
    struct log_streams *streams = client->streams;
    pthread_mutex_lock(&streams->mutex);
    DL_DELETE(streams->clients, client);
    streams->count--;
    pthread_mutex_unlock(&streams->mutex);
    text_buffer_clear(&client->text);
    free(client);
}

static struct MHD_Response *log_stream_response(void *context, struct MHD_Connection *connection,
                                                int fd)
{
    struct log_stream_client *client = context;
    (void)fd;
    client->connection = connection;
    return event_response_new(BLOCK_BYTES, log_stream_read, client, log_stream_drop);
}

static void log_stream_gone(void *context, int64_t number)
{
    struct log_streams *streams = context;
    pthread_mutex_lock(&streams->mutex);
    struct log_stream_client *client = log_streams_find(streams, number);
    if (client != NULL)
        log_stream_finish(client);
    pthread_mutex_unlock(&streams->mutex);
}

/* ---- Beginning ---- */

/* What the client has already. */
static enum bw_code read_last_event(const struct exchange *exchange, struct log_follow *last,
                                    struct bw_error *error)
{
    const char *text = exchange_header(exchange, "Last-Event-ID");
    char shown[80];
    int length = -1;
    *last = (struct log_follow){.offset = 0};
    if (text == NULL || text[0] == '\0')
        return BW_OK;
    if (strlen(text) > 24 || strspn(text, "0123456789.") != strlen(text) ||
        sscanf(text, "%" SCNu32 ".%" SCNd64 "%n", &last->place.attempt, &last->offset, &length) !=
            2 ||
        text[length] != '\0' || last->offset < 0 || last->offset > LOG_STREAM_MAX)
        return bw_fail(error, BW_BAD_REQUEST,
                       "Last-Event-ID: must be the id of an event of this stream, like 1.4096, not "
                       "'%s'",
                       text_show(text, shown, sizeof shown));
    return BW_OK;
}

/* Enters who the streams are counted for. */
static void log_stream_set_scope(struct log_stream_client *client, const struct exchange *exchange)
{
    const struct request *request = exchange_request(exchange);
    char caller[ANSWER_CALLER_SIZE];
    client->has_course = request->parts[1][0] != '\0';
    answer_stream_caller(exchange, caller);
    snprintf(client->scope, sizeof client->scope, "%s",
             client->has_course ? request->parts[0] : caller);
}

/* Adds a client. False: there are too many. */
static bool log_streams_join(struct log_streams *streams, struct log_stream_client *client)
{
    const struct log_stream_client *other;
    size_t share = 0, classic = 0;
    pthread_mutex_lock(&streams->mutex);
    DL_FOREACH (streams->clients, other) {
        share += other->has_course == client->has_course &&
                 strcmp(other->scope, client->scope) == 0;
        classic += !other->has_course;
    }
    bool has_room = streams->count < LOG_STREAMS_MAX && share < LOG_STREAMS_SHARE &&
                    (client->has_course || classic < LOG_STREAMS_CLASSIC);
    if (has_room) {
        client->number = ++streams->last_number;
        client->is_over = streams->is_draining;
        DL_APPEND(streams->clients, client);
        streams->count++;
    }
    pthread_mutex_unlock(&streams->mutex);
    return has_room;
}

enum bw_code log_stream_send(struct api *api, struct exchange *exchange,
                             const struct log_place *place, struct bw_error *error)
{
    struct job_log_state state = {.place = *place};
    struct log_follow last;
    enum bw_code code = read_last_event(exchange, &last, error);
    if (code == BW_OK)
        code = job_log_find(api, &state, error);
    if (code != BW_OK)
        return code;
    struct log_stream_client *client = bw_alloc(sizeof *client);
    client->streams = api->log_streams;
    client->follow.place = state.place;
    client->sent_ms = clock_boot_ms();
    if (state.place.attempt > 0 && last.place.attempt == state.place.attempt)
        client->follow.offset = last.offset;
    else if (state.place.attempt > 0)
        log_stream_enter_attempt(client, state.place.attempt);
    log_stream_set_scope(client, exchange);
    if (!log_streams_join(api->log_streams, client)) {
        text_buffer_clear(&client->text);
        free(client);
        return bw_fail(error, BW_TOO_MANY,
                       "too many logs are followed here: close some streams, or try again");
    }
    exchange_answer_stream(exchange, &(struct exchange_stream){.stream = client,
                                                               .response = log_stream_response,
                                                               .drop = log_stream_drop,
                                                               .gone = log_stream_gone,
                                                               .context = api->log_streams,
                                                               .number = client->number});
    ticker_wake(api->log_streams->ticker);
    return BW_OK;
}

/* ---- All streams ---- */

void log_streams_drain(struct log_streams *streams)
{
    struct log_stream_client *client;
    pthread_mutex_lock(&streams->mutex);
    streams->is_draining = true;
    DL_FOREACH (streams->clients, client)
        log_stream_finish(client);
    pthread_mutex_unlock(&streams->mutex);
}

size_t log_streams_count(struct log_streams *streams)
{
    pthread_mutex_lock(&streams->mutex);
    size_t count = streams->count;
    pthread_mutex_unlock(&streams->mutex);
    return count;
}

enum bw_code log_streams_open(struct api *api, struct log_streams **streams, struct bw_error *error)
{
    struct log_streams *opened = bw_alloc(sizeof *opened);
    opened->api = api;
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = ticker_open("the streams of logs", TICKER_IDLE, log_streams_tick, opened,
                                    &opened->ticker, error);
    if (code != BW_OK) {
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return code;
    }
    *streams = opened;
    return BW_OK;
}

void log_streams_close(struct log_streams *streams)
{
    if (streams == NULL)
        return;
    ticker_close(streams->ticker);
    pthread_mutex_destroy(&streams->mutex);
    free(streams);
}
