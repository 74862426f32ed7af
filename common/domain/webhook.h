/*
 * webhook: an endpoint that is told of events, by HTTP: of one run, of a course or of the whole
 * cluster. What may be said of it, and what is shown of it. The payloads and their signature are
 * described in docs/webhooks.md. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_WEBHOOK_H
#define COMMON_DOMAIN_WEBHOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "common/domain/job.h"

/* X(event, name on the wire, whether it is about a run) */
#define WEBHOOK_EVENT_MAP(X)              \
    X(RUN_FINISHED, "run_finished", true) \
    X(RUN_PAUSED, "run_paused", true)     \
    X(JOB_FAILED, "job_failed", true)     \
    X(WORKER_LOST, "worker_lost", false)  \
    X(NO_WORKERS, "no_workers", false)

enum webhook_event_kind {
#define WEBHOOK_EVENT_ENUM(event, name, of_run) WEBHOOK_##event,
    WEBHOOK_EVENT_MAP(WEBHOOK_EVENT_ENUM)
#undef WEBHOOK_EVENT_ENUM
        WEBHOOK_EVENTS
};

/* How a body is written. */
enum webhook_format { WEBHOOK_BROADWAY, WEBHOOK_SLACK, WEBHOOK_DISCORD, WEBHOOK_FORMATS };

enum {
    WEBHOOK_ID_LENGTH = 24,
    WEBHOOK_ID_SIZE = WEBHOOK_ID_LENGTH + 1,
    WEBHOOK_URL_SIZE = 1025,
    WEBHOOK_SECRET_SIZE = 129,
    WEBHOOK_SCOPE_SIZE = WORKER_ID_SIZE + 8,
    WEBHOOKS_OF_RUN = 5
};

struct webhook {
    char id[WEBHOOK_ID_SIZE];
    char course[WORKER_ID_SIZE]; /* of the course, or of the run; "": none */
    char run[RUN_ID_SIZE];       /* "": it is not a run's */
    char url[WEBHOOK_URL_SIZE];
    char secret[WEBHOOK_SECRET_SIZE]; /* for the signature */
    unsigned events;                  /* a bit for each enum webhook_event_kind */
    enum webhook_format format;
    int64_t created_ms; /* database date */
};

/* "url", "secret", "events", "format": for the cluster, and for a course or a run, which have the
 * events of runs alone. */
extern const struct json_field webhook_cluster_fields[];
extern const struct json_field webhook_run_fields[];

/* A row for tables of submissions. */
#define WEBHOOKS_KEY "webhooks"
#define WEBHOOKS_FIELD                                                        \
    {                                                                         \
        .name = WEBHOOKS_KEY, .kind = FIELD_LIST, .maximum = WEBHOOKS_OF_RUN, \
        .fields = webhook_run_fields                                          \
    }

/* Fills a webhook from an object that was checked, without id and date; a random secret, if none is
 * given. `course` and `run`: "" for none. */
void webhook_take(const json_t *object, const char *course, const char *run,
                  struct webhook *webhook);

/* Whether it is to be told of such events. */
bool webhook_wants(const struct webhook *webhook, enum webhook_event_kind kind);

/* Whose it is, as text for the database: cluster, course/NAME or run/ID. Returns `scope`. */
const char *webhook_scope(const char *course, const char *run, char scope[WEBHOOK_SCOPE_SIZE]);

/* What is shown of it; with its secret only to whoever has just created it. New reference. */
json_t *webhook_json(const struct webhook *webhook, bool with_secret);

/* "run_finished" and so on. Static. */
const char *webhook_event_name(enum webhook_event_kind kind);

/* "broadway" and so on. Static. */
const char *webhook_format_name(enum webhook_format format);
bool webhook_format_parse(const char *name, enum webhook_format *format);

/* Checks the form of a URL, not where it leads: http or https, no user, no password.
 * BW_BAD_REQUEST; `path` is for the sentence. For tests. */
enum bw_code webhook_url_check(const char *url, const char *path, struct bw_error *error)
    BW_CHECKED;

#endif
