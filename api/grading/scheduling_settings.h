/*
 * scheduling_settings: what operators state about the order of jobs (docs/scheduling.md): the
 * shares of courses, and the reservations of graders. A request writes a document
 * (common/store/scheduling_store.h), and is answered when the scheduler has read it, as those of
 * pauses.h are. Callers: handlers of all protocols that may wait for the database (ROUTE_BLOCKING).
 */
#ifndef API_GRADING_SCHEDULING_SETTINGS_H
#define API_GRADING_SCHEDULING_SETTINGS_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"

struct api;
struct exchange;

/* "weight" and "max_running". */
extern const struct json_field share_fields[];
/* "tags", "courses", "classes", "note" and "timeout". */
extern const struct json_field reservation_fields[];

/* What to write; everything is borrowed during the call. */
struct scheduling_request {
    const char *name; /* of the course or the reservation: letters, digits, - and _ */
    const char *by;   /* who asks */
    const json_t *arguments;
    struct exchange *exchange;
    /* Answers the exchange; `data` is stolen. Called once, from any thread. */
    void (*answer)(struct exchange *exchange, json_t *data);
};

/* Replaces what an operator has stated of a course: answers {"share"}. BW_PENDING: it answers
 * later, perhaps with BW_UNAVAILABLE. BW_BAD_REQUEST: the arguments state nothing, or there is no
 * such course; BW_UNAVAILABLE: unknown. */
enum bw_code scheduling_settings_put_share(struct api *api,
                                           const struct scheduling_request *request,
                                           struct bw_error *error) BW_CHECKED;
/* The course file counts again: answers {"share"}. The codes are those of the put; a course without
 * a share is no error. */
enum bw_code scheduling_settings_delete_share(struct api *api,
                                              const struct scheduling_request *request,
                                              struct bw_error *error) BW_CHECKED;

/* Stores a reservation in place of one of that name: answers {"reservation"}. BW_PENDING as above.
 * BW_BAD_REQUEST: the name is the id of a run, or there is no such course; BW_CONFLICT: there are
 * too many; BW_UNAVAILABLE: unknown. */
enum bw_code scheduling_settings_put_reservation(struct api *api,
                                                 const struct scheduling_request *request,
                                                 struct bw_error *error) BW_CHECKED;
/* Ends a reservation: answers {}. BW_PENDING as above. BW_BAD_REQUEST: there is none of that name;
 * BW_UNAVAILABLE: unknown. */
enum bw_code scheduling_settings_delete_reservation(struct api *api,
                                                    const struct scheduling_request *request,
                                                    struct bw_error *error) BW_CHECKED;

/* Everything that is stored, and every course: *answer is a new reference: {"courses",
 * "reservations"}. BW_UNAVAILABLE. */
enum bw_code scheduling_settings_read(struct api *api, json_t **answer, struct bw_error *error)
    BW_CHECKED;

/* The share of one course: *answer is a new reference. BW_UNAVAILABLE. */
enum bw_code scheduling_settings_read_share(struct api *api, const char *course, json_t **answer,
                                            struct bw_error *error) BW_CHECKED;

/* Tells the scheduler to read the settings again, after the course file was stored. Doesn't wait;
 * a scheduler that takes over reads them in any case. Safe from any thread. */
void scheduling_settings_notify(struct api *api);

#endif
