/*
 * audit_store: collection audit: who did what, when, from where. An entry is inserted once and
 * never changed; only retention removes entries, by their date. Written and read by the API;
 * removed by the scheduler. Safe from any thread.
 *
 * An entry is sent at once if no other one is being written; those that arrive meanwhile go
 * together into one document, {_id, at, entries}, so that a burst costs few inserts and few
 * entries of indexes. All entries of a document share its date `at`: when it was sent. The _id of a
 * document is an ObjectId that begins with that date in milliseconds (4 bytes of seconds, 2 of
 * milliseconds) and ends with a byte 0; in the id of an entry that byte is its position in the
 * document. So ids are in the order of time.
 */
#ifndef COMMON_STORE_AUDIT_STORE_H
#define COMMON_STORE_AUDIT_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/request_id.h"
#include "common/base/secret.h"
#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"

struct audit_store;

enum {
    AUDIT_ID_SIZE = 25,
    AUDIT_ACTION_SIZE = 32,
    AUDIT_KIND_SIZE = 16,
    AUDIT_FINGERPRINT_SIZE = 13, /* of a token: 12 hex digits */
    AUDIT_ADDRESS_SIZE = 64
};

/* In each text "": does not apply, or not known. */
struct audit_entry {
    char id[AUDIT_ID_SIZE]; /* 24 lower-case hex digits; only of an entry that was read */
    int64_t at_ms;          /* the database's date, UTC; only of an entry that was read */
    char action[AUDIT_ACTION_SIZE];
    char actor_kind[AUDIT_KIND_SIZE]; /* "client", "course", "operator", "anonymous" */
    char actor_name[TOKEN_NAME_SIZE];
    char fingerprint[AUDIT_FINGERPRINT_SIZE];
    char course[WORKER_ID_SIZE], assignment[WORKER_ID_SIZE];
    char run[RUN_ID_SIZE], rerun_of[RUN_ID_SIZE], job[JOB_ID_SIZE];
    char worker[WORKER_ID_SIZE];  /* as shown to people: an id that is a secret is cut */
    char file[SHA256_TEXT_SIZE];  /* the digest of a file, hex */
    char webhook[WORKER_ID_SIZE]; /* id */
    char reservation[WORKER_ID_SIZE];
    char address[AUDIT_ADDRESS_SIZE];
    char request_id[REQUEST_ID_SIZE];
};

/* Opens the store; `database` must outlive it. The close completes the submitted entries, and
 * allows NULL. */
enum bw_code audit_store_open(struct database *database, struct audit_store **store,
                              struct bw_error *error) BW_CHECKED;
void audit_store_close(struct audit_store *store);

/* An entry that is being stored: in the caller's memory until `completed`. */
struct audit_commit {
    struct audit_entry entry;
    /* Called once, from the store's thread, or during audit_store_insert; must not block for long.
     * `is_stored`: durably. */
    void (*completed)(struct audit_commit *commit, bool is_stored);
    /* The store's: */
    struct audit_commit *next;
    bson_t *fields;
    int64_t expires_ms;
};

/* Stores an entry, with others in one document. Never blocks, never fails. */
void audit_store_insert(struct audit_store *store, struct audit_commit *commit);

/* Which entries to read. */
struct audit_range {
    const char *course;         /* of this course; NULL: any */
    const char *run;            /* of this run; NULL: any */
    const char *before;         /* with a smaller id; NULL: any */
    int64_t since_ms, until_ms; /* since_ms <= date < until_ms */
};

/* Calls `each` for the entries of a range, the newest first, until it returns false. Waits for the
 * database. BW_OK, BW_UNAVAILABLE. */
enum bw_code audit_store_read(struct audit_store *store, const struct audit_range *range,
                              bool (*each)(const struct audit_entry *entry, void *context),
                              void *context, struct bw_error *error) BW_CHECKED;

/* Removes documents that are older than `before_ms` (the database's date, UTC ms), `limit` at most.
 * *removed counts them, also where it fails. May be repeated. BW_OK, BW_UNAVAILABLE. */
enum bw_code audit_store_remove(struct audit_store *store, int64_t before_ms, int64_t limit,
                                size_t *removed, struct bw_error *error) BW_CHECKED;

/* The database's date, UTC ms. */
int64_t audit_store_now_ms(const struct audit_store *store);

/* The date in an entry's id: 24 lower-case hex digits. */
int64_t audit_id_date(const char *id);

#endif
