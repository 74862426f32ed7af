/*
 * pauses: pausing and resuming, and what is shown of pauses. A request writes a document
 * (common/store/pause_store.h), and is answered when the scheduler has read it (QUERY_PAUSES): what
 * is handed out then was handed out before. Callers: handlers of all protocols that may wait for
 * the database (ROUTE_BLOCKING).
 */
#ifndef API_GRADING_PAUSES_H
#define API_GRADING_PAUSES_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/domain/pause.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* "note", a text, and "timeout", in seconds. */
extern const struct json_field pause_fields[];
/* The check of a note, for tables of other protocols' arguments: no control characters. */
enum bw_code pause_note_check(const json_t *value, const char *path, const void *context,
                              struct bw_error *error);

/* A row for each of them, for tables that have more. */
#define PAUSE_NOTE_FIELD                                                      \
    {                                                                         \
        .name = "note", .kind = FIELD_STRING, .maximum = PAUSE_NOTE_SIZE - 1, \
        .check = pause_note_check                                             \
    }
#define PAUSE_TIMEOUT_FIELD                                                                    \
    {                                                                                          \
        .name = "timeout", .kind = FIELD_INTEGER, .minimum = 1, .maximum = PAUSE_TIMEOUT_MAX_S \
    }

/* "offset", the number of the first pause of a list. */
extern const struct json_field pause_list_fields[];

/* What to pause or to resume; everything is borrowed during the call. */
struct pause_request {
    enum pause_kind kind;
    const char *name;        /* as in struct pause */
    const char *by;          /* who asks */
    const json_t *arguments; /* "note", "timeout", "drain"; not for a resume */
    struct exchange *exchange;
    /* Answers the exchange; `data` is stolen. Called once, from any thread. */
    void (*answer)(struct exchange *exchange, json_t *data);
};

/* Pauses: answers {"paused": the pause}. Repeating it replaces note, time-out and drain.
 * BW_PENDING: it answers later, perhaps with BW_UNAVAILABLE. BW_CONFLICT: the run is over;
 * BW_BAD_REQUEST: there is no such worker; BW_UNAVAILABLE: unknown. */
enum bw_code pause_begin(struct api *api, const struct pause_request *request,
                         struct bw_error *error) BW_CHECKED;

/* Ends the manual and the automatic pause: answers {"paused": what still holds a run, else null}.
 * The codes are those of pause_begin. */
enum bw_code pause_resume(struct api *api, const struct pause_request *request,
                          struct bw_error *error) BW_CHECKED;

/* Answers `data` (stolen) when the scheduler has read pauses and scheduling settings anew, after
 * either was written. BW_PENDING: always; it may answer BW_UNAVAILABLE. */
enum bw_code pause_confirm(struct api *api, struct exchange *exchange,
                           void (*answer)(struct exchange *exchange, json_t *data), json_t *data)
    BW_CHECKED;

/* What is shown of the pause that holds back the jobs of a run; *shown is NULL if there is none, or
 * the run is not under way. New reference. BW_UNAVAILABLE. */
enum bw_code pause_of_run(struct api *api, const struct run *run, json_t **shown,
                          struct bw_error *error) BW_CHECKED;

/* Answers with the pauses in force that concern the course (""; all), from number `offset` on:
 * {"pauses": [...], "next_offset": where it goes on, or null}. BW_PENDING. */
enum bw_code pause_list(struct api *api, const char *course, const struct pause_request *request)
    BW_CHECKED;

/* Answers with what the scheduler knows of a worker, with its pause. BW_PENDING; it may answer
 * later that there is no such worker. */
enum bw_code pause_show_worker(struct api *api, const struct pause_request *request) BW_CHECKED;

#endif
